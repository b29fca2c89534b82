"""Find faces of any size and at any angle in a photograph.

The detector shrinks every image to about 200 pixels a side, and knows upright faces. So an image is also searched in
tiles and in four turns, and every answer is checked.
"""

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.checked_detection import CheckedFace, check
from mosar.datasets.landmarks import Detector, Face

LEAST_PX = 40
"""Longer side of the landmarks' box of the smallest face that is searched for."""
_LEVELS = (1, 2, 4)  # tiles a side, before overlap


def find_faces(detector: Detector, image_hw3: NDArray[np.uint8]) -> list[Face]:
    """The faces in an sRGB image (h, w, 3), from left to right, with landmarks in its pixels; poses are upright.

    If the whole image shows none, overlapping square tiles are searched, larger first, and after the first faces one
    more size of tiles: smaller people may stand beside. Other turns are tried unless faces are certain without.
    """
    found: list[CheckedFace] = []
    quarters: tuple[int, ...] = (0, 1, 2, 3)
    for level in _LEVELS:
        further = bool(found)
        searched_hw3 = _hidden(image_hw3, found)
        for quarter in quarters:
            _search(detector, image_hw3, searched_hw3, level, quarter, found)
            if found and all(face.sure for face in found):
                quarters = (quarter,)  # others stand the same way up
                break
        if further:
            break
    return [face.face for face in sorted(found, key=lambda face: float(face.face.landmarks[:, 0].mean()))]


def size_px(face: Face) -> float:
    """Longer side of the box of a face's landmarks."""
    return float(np.ptp(face.landmarks[:, :2], axis=0).max())


def _search(
    detector: Detector,
    image_hw3: NDArray[np.uint8],
    searched_hw3: NDArray[np.uint8],
    level: int,
    quarter: int,
    found: list[CheckedFace],
) -> None:
    """Add the faces in all tiles of one size, turned by quarters."""
    height, width = image_hw3.shape[:2]
    side = -(-max(height, width) // level)
    for top in _starts(height, side):
        for left in _starts(width, side):
            tile = searched_hw3[top : top + side, left : left + side]
            for points_n2 in _candidates(detector, tile, quarter):
                _add(detector, image_hw3, points_n2 + np.array([left, top]), found)


def _hidden(image_hw3: NDArray[np.uint8], found: list[CheckedFace]) -> NDArray[np.uint8]:
    """The image with grey boxes over the faces that are found."""
    if not found:
        return image_hw3
    hidden_hw3 = image_hw3.copy()
    for face in found:
        low, high = face.face.landmarks[:, :2].min(0), face.face.landmarks[:, :2].max(0)
        margin = 0.1 * (high - low)
        x0, y0 = np.maximum(low - margin, 0).astype(int)
        x1, y1 = np.ceil(high + margin).astype(int)
        hidden_hw3[max(y0, 0) : y1, max(x0, 0) : x1] = 128
    return hidden_hw3


def _candidates(detector: Detector, tile_hw3: NDArray[np.uint8], quarter: int) -> list[NDArray[np.floating]]:
    """Landmarks (478, 2), in pixels of the tile, that the detector finds in the tile turned by quarters."""
    height, width = tile_hw3.shape[:2]
    found = detector.detect(np.ascontiguousarray(np.rot90(tile_hw3, quarter)))
    back = (
        lambda x, y: (x, y),
        lambda x, y: (width - y, x),
        lambda x, y: (width - x, height - y),
        lambda x, y: (y, height - x),
    )[quarter]
    return [np.stack(back(*face.landmarks[:, :2].T), axis=1) for face in found]


def _add(
    detector: Detector, image_hw3: NDArray[np.uint8], points_n2: NDArray[np.floating], found: list[CheckedFace]
) -> None:
    """Add the checked face to those found. Of two readings of the same face the one that agrees better stays."""
    if any(other.sure and _same(points_n2, other.face.landmarks) for other in found):
        return
    if np.ptp(points_n2, axis=0).max() < LEAST_PX / 2:  # a first look at a turned face may be far off
        return
    face = check(detector, image_hw3, points_n2)
    if face is None or size_px(face.face) < LEAST_PX:
        return
    same = [other for other in found if _same(face.face.landmarks, other.face.landmarks)]
    if all(face.disagreement < other.disagreement for other in same):
        found[:] = [other for other in found if not any(other is one for one in same)] + [face]


def _starts(length: int, side: int) -> list[int]:
    """Start positions of the tiles along one axis: half a tile apart, the last one flush with the end."""
    last = max(length - side, 0)
    return sorted({*range(0, last, max(side // 2, 1)), last})


def _same(a_n: NDArray[np.floating], b_n: NDArray[np.floating]) -> bool:
    """Whether two detections show the same face: their centres are closer than people's can be.

    An upside-down reading of a face lies up to 0.4 of its size beside the right one.
    """
    distance = np.linalg.norm(a_n[:, :2].mean(0) - b_n[:, :2].mean(0))
    return bool(distance < np.ptp(b_n[:, :2], axis=0).max() * 0.6)
