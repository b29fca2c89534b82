"""Mask of a face's skin, from its landmarks alone.

The lists hold landmark numbers of outlines on the detector's mesh, in order; left and right are the subject's.
"""

import numpy as np
from numpy.typing import NDArray

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
MOUTH = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""The inner edge of the lips."""


def skin_mask(landmarks_px: NDArray[np.floating], height: int, width: int) -> NDArray[np.uint8]:
    """Mask (H x W), 255 on the face's skin: the convex hull of the face outline without the eyes and the open mouth.

    Brows and lips count as skin. Landmarks do not tell what occludes the skin (hair, glasses, hands): losses must be
    robust to it. ``landmarks_px``: 478 x 2 or more columns, px.
    """
    import cv2

    points = np.asarray(landmarks_px, np.float64)[:, :2]
    mask = np.zeros((height, width), np.uint8)
    _fill(mask, cv2.convexHull(points[list(OVAL)].astype(np.float32))[:, 0], 255)
    for outline in (LEFT_EYE, RIGHT_EYE, MOUTH):
        _fill(mask, points[list(outline)], 0)
    return mask


def _fill(mask: NDArray[np.uint8], polygon_n2: NDArray[np.floating], value: int) -> None:
    """Fill a polygon with subpixel corners; OpenCV has pixel centres at integers."""
    import cv2

    fixed = np.rint((polygon_n2 - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], value, shift=4)
