"""What is known of one photograph after its evaluation: numbers and small arrays, of which the tables are made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = Mapping[str, Mapping[str, float]]
"""Row -> measure -> value."""
Arrays = Mapping[str, Mapping[str, NDArray[np.float32]]]
"""Row -> name -> array."""


@dataclass(frozen=True, eq=False)
class Record:
    """Attributes:

    key, subject: names of the photograph and of the person.
    failure: why there is no avatar; empty if there is one.
    seconds: that the reconstruction took.
    facts: yaw, pitch (degrees) and tone (L*).
    values, arrays: by row.
    tiles: pictures of the sheet, (h, w, 3) uint8 sRGB, by caption.
    """

    key: str
    subject: str
    failure: str = ""
    seconds: float = 0.0
    facts: Mapping[str, float] = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    arrays: Arrays = field(default_factory=dict)
    tiles: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
