"""Visibility of landmarks in a picture."""

import numpy as np
from numpy.typing import NDArray

_BEHIND_MM = 7.0
"""Depth behind the nearest surface up to which a landmark counts as visible: landmarks do not lie exactly on it."""


def hide_covered(
    marks_l3: NDArray[np.floating], depth_l: NDArray[np.floating], nearest_hw: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Landmarks (px, visibility) with visibility 0.5 for those that are covered or outside the picture; 0 stays 0.

    ``depth_l``: their depth in the camera, mm. ``nearest_hw``: depth of the nearest surface at each pixel, mm,
    infinite in the background.
    """
    height, width = nearest_hw.shape
    column, row = np.floor(marks_l3[:, :2]).astype(int).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    nearest = nearest_hw[row.clip(0, height - 1), column.clip(0, width - 1)]
    found = marks_l3.astype(np.float32)
    found[(found[:, 2] > 0) & ~(inside & (depth_l < nearest + _BEHIND_MM)), 2] = 0.5
    return found
