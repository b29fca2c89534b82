"""Errors of an avatar's points in the photograph, as shares of the distance of the outer eye corners."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.avatar import Avatar
from mosar.datasets.skin_mask import LEFT_BROW, LEFT_EYE, LIPS, OVAL
from mosar.jobs.evaluation.avatar.landmark_fit import IRISES, outer_eye_distance
from mosar.models.head import Head

Bools = NDArray[np.bool_]

NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 48, 278, 64, 294, 129, 358, 193, 417, 245, 465)
JAW = (136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365)
REGIONS = {"brow_and_eye": LEFT_BROW + LEFT_EYE, "nose": NOSE, "mouth": LIPS, "jaw": JAW}
"""Points whose hull is a region that is withheld; the eye is the subject's left one."""
_MIDLINE = (10, 152)
_GROWN = 1.2


def scored(head: Head) -> Bools:
    """Points (478) that count: embedded, without the outline, which slides with the view, and the irises."""
    chosen = head.landmark_triangle_l >= 0
    chosen[[*OVAL, *IRISES]] = False
    return np.asarray(chosen)


def nme(avatar: Avatar, points_n2: NDArray[np.floating], chosen_n: Bools) -> float:
    """Mean distance of the avatar's chosen points from the detector's, as a share; NaN if none is chosen."""
    ours = avatar.landmarks_px().numpy()
    chosen = chosen_n & np.isfinite(ours).all(1)
    if not chosen.any():
        return float("nan")
    return float(np.linalg.norm(ours - points_n2[:, :2], axis=1)[chosen].mean() / outer_eye_distance(points_n2))


def region_hull(points_n2: NDArray[np.floating], region: str) -> NDArray[np.float32]:
    """Corners (m, 2) of the hull of a region, somewhat larger than its points, pixels."""
    hull = cv2.convexHull(np.asarray(points_n2, np.float32)[list(REGIONS[region]), :2])[:, 0]
    centre = hull.mean(0)
    return np.asarray(centre + _GROWN * (hull - centre), np.float32)


def half_hull(points_n2: NDArray[np.floating], left: bool) -> NDArray[np.float32]:
    """Corners of the subject's left or right half of the face, pixels: one side of the line from forehead to chin."""
    points = np.asarray(points_n2, np.float64)[:, :2]
    top, foot = points[list(_MIDLINE)]
    along = foot - top
    side_n = along[0] * (points[:, 1] - top[1]) - along[1] * (points[:, 0] - top[0])
    # In an upright picture the subject's left is on the right: there the cross product is negative.
    chosen = points[(side_n < 0) == left]
    hull = cv2.convexHull(np.concatenate([chosen, [top, foot]]).astype(np.float32))[:, 0]
    centre = (top + foot) / 2
    return np.asarray(centre + np.float32(_GROWN) * (hull - centre), np.float32)


def covered(
    image_hw3: NDArray[np.uint8], hull_m2: NDArray[np.float32], colour_3: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The photograph with a hull painted over."""
    painted = image_hw3.copy()
    cv2.fillConvexPoly(painted, np.rint(hull_m2 - 0.5).astype(np.int32), [int(c) for c in colour_3])
    return painted
