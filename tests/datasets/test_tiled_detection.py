from collections.abc import Iterator

import numpy as np
import pytest
from skimage.data import astronaut

from mosar.datasets.landmarks import Detector
from mosar.datasets.tiled_detection import find_faces


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    with Detector() as detector:
        yield detector


def test_small_faces_are_found_once_each_at_their_positions(detector: Detector) -> None:
    image = astronaut()
    (alone,) = find_faces(detector, image)
    wide = np.concatenate([image, image], axis=1)
    assert detector.detect(wide) == []  # the detector alone misses them
    faces = sorted(find_faces(detector, wide), key=lambda face: float(face.landmarks[:, 0].mean()))
    assert len(faces) == 2
    for face, shift in zip(faces, (0, 512), strict=True):
        assert np.abs(face.landmarks[:, :2] - alone.landmarks[:, :2] - [shift, 0]).mean() < 3


@pytest.mark.parametrize("shape", [(64, 64, 3), (40, 400, 3), (300, 50, 3)])
def test_an_image_without_a_face_gives_no_faces(detector: Detector, shape: tuple[int, int, int]) -> None:
    assert find_faces(detector, np.full(shape, 90, np.uint8)) == []
