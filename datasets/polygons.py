"""Polygons in the frontal plane."""

import numpy as np
from numpy.typing import NDArray


def inside(points_n2: NDArray[np.floating], polygon_k2: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Mask (n) of the points inside a closed polygon, by the even-odd rule."""
    from skimage.measure import points_in_poly

    return np.asarray(points_in_poly(points_n2, polygon_k2), bool)
