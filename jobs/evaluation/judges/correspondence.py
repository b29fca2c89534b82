"""Correspondence of the 68 Multi-PIE points with points of the project's detector (478, MediaPipe's face mesh).

Points 0 to 16, the outline, have no counterpart: both detectors let them slide along the visible contour. They are
left out of every score.
"""

import numpy as np
from numpy.typing import NDArray

_BROWS = {17: 70, 18: 63, 19: 105, 20: 66, 21: 107, 22: 336, 23: 296, 24: 334, 25: 293, 26: 300}
_NOSE = {27: 168, 28: 197, 29: 5, 30: 4, 31: 75, 32: 97, 33: 2, 34: 326, 35: 305}
_RIGHT_EYE = {36: 33, 37: 160, 38: 158, 39: 133, 40: 153, 41: 144}
_LEFT_EYE = {42: 362, 43: 385, 44: 387, 45: 263, 46: 373, 47: 380}
_LIPS = {48: 61, 49: 39, 50: 37, 51: 0, 52: 267, 53: 269, 54: 291, 55: 405, 56: 314, 57: 17, 58: 84, 59: 181}
_MOUTH = {60: 78, 61: 82, 62: 13, 63: 312, 64: 308, 65: 317, 66: 14, 67: 87}
_PAIRS = _BROWS | _NOSE | _RIGHT_EYE | _LEFT_EYE | _LIPS | _MOUTH
_EYE_CORNERS = (36, 45)

SCORED = np.array(list(_PAIRS))
"""Numbers, among the 68, of the points that are scored (51)."""
OURS = np.array(list(_PAIRS.values()))
"""Numbers, among the 478, of the same points (51)."""


def nme_percent(judged_p2: NDArray[np.floating], ours_l2: NDArray[np.floating]) -> float:
    """Mean distance (percent of the distance of the judged outer eye corners) of our points to the judged ones.

    ``judged_p2``: the 68 points. ``ours_l2``: detected, or projected from a head (478, 2 or more, same unit); points
    that are NaN, which the head lacks, are left out. Zero cannot be reached: the two sets define brows, corners of
    eyes and lips a little differently (our detector itself scores 2.8 on portraits).
    """
    off = np.linalg.norm(judged_p2[SCORED] - ours_l2[OURS, :2], axis=1)
    across = np.linalg.norm(judged_p2[_EYE_CORNERS[1]] - judged_p2[_EYE_CORNERS[0]])
    return float(100 * np.nanmean(off) / across)
