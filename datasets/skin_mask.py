"""Mask of a face's skin from landmarks alone."""

import numpy as np
from numpy.typing import NDArray

from mosar.models import face_outlines

OVAL, LIPS, MOUTH = face_outlines.OVAL, face_outlines.LIPS, face_outlines.MOUTH
LEFT_EYE, RIGHT_EYE = face_outlines.LEFT_EYE, face_outlines.RIGHT_EYE
LEFT_BROW, RIGHT_BROW = face_outlines.LEFT_BROW, face_outlines.RIGHT_BROW


def skin_mask(landmarks_px: NDArray[np.floating], height: int, width: int) -> NDArray[np.uint8]:
    """Mask (H x W), 255 on the face's skin: the convex hull of the face outline without the eyes and the open mouth.

    Brows and lips count as skin. Landmarks do not tell what occludes the skin (hair, glasses, hands): losses must be
    robust to it. ``landmarks_px``: 478 x 2 or more columns, px.
    """
    import cv2

    points = np.asarray(landmarks_px, np.float64)[:, :2]
    mask = np.zeros((height, width), np.uint8)
    fill(mask, cv2.convexHull(points[list(OVAL)].astype(np.float32))[:, 0], 255)
    for outline in (LEFT_EYE, RIGHT_EYE, MOUTH):
        fill(mask, points[list(outline)], 0)
    return mask


def fill(mask: NDArray[np.uint8], polygon_n2: NDArray[np.floating], value: int) -> None:
    """Fill a polygon with subpixel corners; OpenCV has pixel centres at integers."""
    import cv2

    fixed = np.rint((polygon_n2 - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(mask, [fixed], value, shift=4)
