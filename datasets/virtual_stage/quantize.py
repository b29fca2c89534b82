"""Numbers that every machine agrees on: computed in double precision, then rounded to a far coarser binary grid.

Processors differ in the last bits of sums, of exponentials, of products and sums made in one step. A ray that just
meets an edge on one machine just misses it on another, and so does a pixel. What a renderer is given is therefore
rounded: all that differs before is then the same, but for about one number in 10^9 that lies between two steps.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

POINT_BITS = 10
"""Of places in mm: a step is a micrometre; single precision holds such places up to 16 metres."""
UNIT_BITS = 16
"""Of the components of unit vectors."""


def quantize(values: NDArray[Any], bits: int) -> NDArray[np.float64]:
    """Values to the nearest multiple of ``2 ** -bits``; they should have been computed in double precision."""
    return np.asarray(np.rint(np.asarray(values, np.float64) * 2.0**bits) / 2.0**bits)
