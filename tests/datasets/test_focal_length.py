"""Focal lengths in image files."""

import io

import numpy as np
import pytest
from PIL import Image

from mosar.datasets.focal_length import recorded_focal
from mosar.datasets.portrait import crop_portrait

EXIF, EQUIVALENT, WIDTH, HEIGHT = 0x8769, 0xA405, 0xA002, 0xA003


def photograph(width: int, height: int, tags: dict[int, int]) -> bytes:
    image = Image.fromarray(np.zeros((height, width, 3), np.uint8))
    exif = Image.Exif()
    exif.get_ifd(EXIF).update(tags)
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize(("width", "height"), [(360, 240), (240, 360), (180, 120)])
def test_the_equivalent_focal_length_is_about_the_diagonal(width: int, height: int) -> None:
    # 50 mm on a film of 36 x 24 mm; the file may be smaller than what the camera took, or turned.
    data = photograph(width, height, {EQUIVALENT: 50, WIDTH: 3600, HEIGHT: 2400})
    assert recorded_focal(data) == pytest.approx(50.0 / 36.0 * max(width, height), rel=1e-6)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {WIDTH: 3600, HEIGHT: 2400},
        {EQUIVALENT: 50},
        {EQUIVALENT: 50, WIDTH: 2400, HEIGHT: 2400},  # cropped since
        {EQUIVALENT: 0, WIDTH: 3600, HEIGHT: 2400},
        {EQUIVALENT: 5000, WIDTH: 3600, HEIGHT: 2400},
    ],
)
def test_what_cannot_be_trusted_is_not_used(tags: dict[int, int]) -> None:
    assert recorded_focal(photograph(360, 240, tags)) is None


def test_damaged_tags_are_no_error() -> None:
    data = photograph(360, 240, {EQUIVALENT: 50, WIDTH: 3600, HEIGHT: 2400})
    start = data.index(b"Exif")
    for place in range(start, start + 60):
        recorded_focal(data[:place] + b"\xff" + data[place + 1 :])
    assert recorded_focal(b"no image") is None


def test_the_crop_has_the_known_focal_length() -> None:
    points = np.random.default_rng(0).uniform(30, 90, (478, 2))
    image = np.zeros((120, 120, 3), np.uint8)
    found = crop_portrait(image, points, 96, focal_px=377.0)
    scale = found.to_crop_33[0, 0]
    assert found.focal_known
    np.testing.assert_allclose(found.intrinsics_33[[0, 1], [0, 1]], 377.0 * scale)
    # With this one the camera would touch the face: the photograph was cropped.
    assumed, near = crop_portrait(image, points, 96), crop_portrait(image, points, 96, focal_px=20.0)
    assert not near.focal_known
    np.testing.assert_array_equal(near.intrinsics_33, assumed.intrinsics_33)
