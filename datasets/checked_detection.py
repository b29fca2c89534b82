"""Check the detector's answer: landmarks of other crops of the same face, turned, scaled and mirrored, must agree.

The detector also finds faces in colour wheels, cells and coins, and misplaces the landmarks of faces that are upside
down. Such answers depend on the crop; those of faces hardly do.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop, skin_mask
from mosar.datasets.landmarks import Detector, Face

_SIZE = 384  # pixels a side of the crops in which the detector looks again
_TURN, _SCALES, _SHIFT = 0.3, (1.2, 0.9), 0.06  # radians; relative to the crop that centres the upright face
_AGREEMENT = 0.04
"""Largest disagreement of a face: mean distance of landmarks in longer sides of their box. Of 240 turned portraits the
largest was 0.013; of colour wheels, cells, coins and other textures that the detector took for faces: 0.08 and more."""
_SURE = 0.02
"""Up to this disagreement a face is certain: half a face that is seen upside down can reach 0.03."""
_EYES = (33, 133, 362, 263)
_LIPS = (13, 14)

_OUTLINES = (
    (skin_mask.OVAL, skin_mask.OVAL[:1] + skin_mask.OVAL[:0:-1]),
    (skin_mask.LEFT_EYE, skin_mask.RIGHT_EYE),
    (skin_mask.RIGHT_EYE, skin_mask.LEFT_EYE),
    (skin_mask.LEFT_BROW, skin_mask.RIGHT_BROW),
    (skin_mask.RIGHT_BROW, skin_mask.LEFT_BROW),
    (skin_mask.LIPS, skin_mask.LIPS[10::-1] + skin_mask.LIPS[:10:-1]),
)
"""Outlines, and the landmarks that take their places in a mirrored image."""
_HERE, _MIRRORED = ([i for outline in side for i in outline] for side in zip(*_OUTLINES, strict=True))


@dataclass(frozen=True, eq=False)
class CheckedFace:
    """A face that other crops confirm.

    Attributes:
        face: landmarks are the means over the crops, in pixels of the image; scores and pose are of the upright face.
        disagreement: mean distance of the crops' landmarks in longer sides of their box.
    """

    face: Face
    disagreement: float

    @property
    def sure(self) -> bool:
        """Whether no other reading of the same pixels need be tried."""
        return self.disagreement <= _SURE


def check(detector: Detector, image_hw3: NDArray[np.uint8], landmarks_n2: NDArray[np.floating]) -> CheckedFace | None:
    """The face near ``landmarks_n2`` (478, pixels of an sRGB image), seen upright; None if the crops disagree."""
    points_n2, found = landmarks_n2[:, :2].astype(np.float64), None
    for _ in range(2):  # the second crop follows the landmarks that were found in an upright face
        found = _look(detector, image_hw3, points_n2)
        if found is None:
            return None
        points_n2 = found.landmarks[:, :2].astype(np.float64)
    assert found is not None
    turned = [_look(detector, image_hw3, points_n2, *how) for how in zip((_TURN, -_TURN), _SCALES, strict=True)]
    mirrored = _look(detector, image_hw3, points_n2, mirror=True)
    if mirrored is None or turned[0] is None or turned[1] is None or not _upright(points_n2):
        return None
    distances = [_distance(points_n2, other.landmarks) for other in turned if other]
    distances.append(_distance(points_n2[_HERE], mirrored.landmarks[_MIRRORED]))
    if max(distances) > _AGREEMENT:
        return None
    mean = np.mean([found.landmarks, *(other.landmarks for other in turned if other)], axis=0)
    return CheckedFace(replace(found, landmarks=mean.astype(np.float32)), max(distances))


def _look(
    detector: Detector,
    image_hw3: NDArray[np.uint8],
    points_n2: NDArray[np.float64],
    angle: float = 0.0,
    scale: float = 1.0,
    mirror: bool = False,
) -> Face | None:
    """The detector's answer in a crop around the face, which is turned upright and then by ``angle``."""
    turn_33 = crop.turn(crop.roll(points_n2) + angle, *image_hw3.shape[:2])
    upright_n2 = crop.transform_points(points_n2, turn_33).astype(np.float64)
    low, high = upright_n2.min(0), upright_n2.max(0)
    side = crop.MARGIN * scale * max(float((high - low).max()), 1.0)
    centre = (low + high) / 2 + (0.0 if scale == 1.0 else _SHIFT * side)
    to_crop_33 = crop.crop_affine(centre, side, _SIZE) @ turn_33
    if mirror:
        to_crop_33 = np.array([[-1.0, 0.0, _SIZE], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ to_crop_33
    faces = detector.detect(crop.warp(image_hw3, to_crop_33, _SIZE))
    if not faces:
        return None
    middle = crop.transform_points(points_n2, to_crop_33)
    face = min(faces, key=lambda f: float(np.linalg.norm(_centre(f.landmarks) - _centre(middle))))
    from_crop_33 = np.asarray(np.linalg.inv(to_crop_33), np.float64)
    back = crop.transform_points(face.landmarks[:, :2], from_crop_33)
    return replace(face, landmarks=np.concatenate([back, face.landmarks[:, 2:] * side / _SIZE], axis=1))


def _upright(points_n2: NDArray[np.float64]) -> bool:
    """Whether the eyes are above the mouth if the forehead is above the chin."""
    angle = crop.roll(points_n2)
    down = np.array([-np.sin(angle), np.cos(angle)])
    height = float(np.ptp(points_n2 @ down))
    return float((points_n2[list(_LIPS)].mean(0) - points_n2[list(_EYES)].mean(0)) @ down) > 0.2 * height


def _distance(a_n2: NDArray[np.floating], b_n: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(a_n2 - b_n[:, :2], axis=1).mean() / max(np.ptp(a_n2, axis=0).max(), 1e-6))


def _centre(landmarks_n3: NDArray[np.floating]) -> NDArray[np.floating]:
    return (landmarks_n3[:, :2].min(0) + landmarks_n3[:, :2].max(0)) / 2
