"""Find faces that are small in a wide photograph: the detector shrinks every image to about 200 pixels a side."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.landmarks import Detector, Face

_LEVELS = (2, 4)  # tiles a side, before overlap


def find_faces(detector: Detector, image_hw3: NDArray[np.uint8]) -> list[Face]:
    """The faces of an sRGB image; if the whole image gives none, those of overlapping square tiles, larger first."""
    faces = detector.detect(image_hw3)
    height, width = image_hw3.shape[:2]
    for level in _LEVELS:
        if faces:
            break
        side = max(height, width) // level
        for top in _starts(height, side):
            for left in _starts(width, side):
                tile = np.ascontiguousarray(image_hw3[top : top + side, left : left + side])
                for face in detector.detect(tile):
                    moved = face.landmarks + np.array([left, top, 0.0], np.float32)
                    if not any(_same(moved, other.landmarks) for other in faces):
                        faces.append(dataclasses.replace(face, landmarks=moved))
    return faces


def _starts(length: int, side: int) -> list[int]:
    """Start positions of the tiles along one axis: half a tile apart, the last one flush with the end."""
    last = max(length - side, 0)
    return sorted({*range(0, last, max(side // 2, 1)), last})


def _same(a_n3: NDArray[np.float32], b_n3: NDArray[np.float32]) -> bool:
    """Whether two detections show the same face: their centres are closer than a third of its width."""
    distance = np.linalg.norm(a_n3[:, :2].mean(0) - b_n3[:, :2].mean(0))
    return bool(distance < np.ptp(b_n3[:, 0]) / 3)
