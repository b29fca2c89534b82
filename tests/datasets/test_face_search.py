from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from mosar.datasets.face_search import find_faces
from mosar.datasets.landmarks import Detector
from mosar.datasets.upright import turn_upright

Image = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with Detector() as detector:
        yield detector


@pytest.fixture(scope="module")
def portrait() -> Image:
    return np.asarray(data.astronaut()[:300, 60:400])


@pytest.fixture(scope="module")
def marks(detector: Detector, portrait: Image) -> np.ndarray:
    (face,) = find_faces(detector, portrait)
    return face.landmarks[:, :2]


def turned(image: Image, degrees: float) -> tuple[Image, np.ndarray]:
    """The whole image, turned counter-clockwise on a grey canvas, and the affine map of its pixels (2, 3)."""
    height, width = image.shape[:2]
    side = int(np.hypot(height, width)) + 1
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    matrix[:, 2] += [(side - width) / 2, (side - height) / 2]
    centres = matrix.copy()  # OpenCV has pixel centres at integers
    centres[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5
    return cv2.warpAffine(image, centres, (side, side), flags=cv2.INTER_CUBIC, borderValue=(128, 128, 128)), matrix


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean distance in longer sides of the box."""
    return float(np.linalg.norm(found[:, :2] - expected, axis=1).mean() / np.ptp(expected, axis=0).max())


def test_small_faces_are_found_once_each_at_their_positions(detector: Detector) -> None:
    image = data.astronaut()
    (alone,) = find_faces(detector, image)
    wide = np.concatenate([image, image], axis=1)
    assert detector.detect(wide) == []  # the detector alone misses them
    faces = find_faces(detector, wide)
    assert len(faces) == 2
    for face, shift in zip(faces, (0, 512), strict=True):
        assert off(face.landmarks - [shift, 0, 0], alone.landmarks[:, :2]) < 0.01


def test_a_smaller_person_beside_is_found_too(detector: Detector, portrait: Image) -> None:
    image = np.full((600, 900, 3), 200, np.uint8)
    image[:600, :600] = cv2.resize(portrait[:, :300], (600, 600))
    image[250:400, 700:850] = cv2.resize(portrait[:, :300], (150, 150), interpolation=cv2.INTER_AREA)
    sizes = [np.ptp(face.landmarks[:, 1]) for face in find_faces(detector, image)]
    assert len(sizes) == 2
    assert sizes[0] / sizes[1] == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize("degrees", [45, 90, 120, 180, 225, 285])
def test_a_face_is_found_once_at_every_angle(
    detector: Detector, portrait: Image, marks: np.ndarray, degrees: float
) -> None:
    image, matrix = turned(portrait, degrees)
    (face,) = find_faces(detector, image)
    assert off(face.landmarks, marks @ matrix[:, :2].T + matrix[:, 2]) < 0.012
    upright = turn_upright(image, face.landmarks[:, :2])
    forehead, chin = upright.landmarks_n2[[10, 152]]
    assert np.degrees(np.arctan2(*(forehead - chin)[::1] * [1, -1])) == pytest.approx(0, abs=2.5)
    # The turned pixels are those of the face: the detector finds it where the landmarks were moved.
    (again,) = detector.detect(upright.image_hw3)
    assert off(again.landmarks, upright.landmarks_n2) < 0.02


@pytest.mark.parametrize("shape", [(64, 64, 3), (40, 400, 3), (300, 50, 3)])
def test_an_image_without_a_face_gives_no_faces(detector: Detector, shape: tuple[int, int, int]) -> None:
    assert find_faces(detector, np.full(shape, 90, np.uint8)) == []


@pytest.mark.parametrize("name", ["colorwheel", "cell"])
def test_what_the_detector_takes_for_a_face_is_none(detector: Detector, name: str) -> None:
    image = np.asarray(getattr(data, name)())
    image = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    assert find_faces(detector, cv2.resize(image, (370, 370), interpolation=cv2.INTER_AREA)) == []


@pytest.mark.parametrize("side", ["left", "top", "bottom"])
def test_half_a_face_is_read_rightly_or_not_at_all(
    detector: Detector, portrait: Image, marks: np.ndarray, side: str
) -> None:
    x, y = ((marks.min(0) + marks.max(0)) / 2).astype(int)
    rows, columns = {
        "left": (slice(None), slice(0, x)),
        "top": (slice(0, y), slice(None)),
        "bottom": (slice(y, None), slice(None)),
    }[side]
    corner = [columns.start or 0, rows.start or 0]
    for quarter in (0, 2):
        half = np.rot90(portrait[rows, columns], quarter)
        for face in find_faces(detector, np.ascontiguousarray(half)):
            found = face.landmarks[:, :2]
            found = found if quarter == 0 else [half.shape[1], half.shape[0]] - found
            assert off(found + corner, marks) < 0.06
