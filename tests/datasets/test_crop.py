import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mosar.datasets import crop

sizes = st.integers(16, 300)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(5, 400), sizes)
def test_the_crop_holds_every_landmark_at_any_scale(seed, spread, size):
    points = np.random.default_rng(seed).normal(200, spread, (478, 2))
    affine = crop.face_crop(points, size)
    moved = crop.transform_points(points, affine)
    assert (moved > 0).all()
    assert (moved < size).all()
    assert affine[0, 0] == affine[1, 1]


@settings(deadline=None)
@given(st.floats(0.1, 10), st.floats(-500, 500), st.floats(-500, 500))
def test_the_crop_follows_the_face(scale, x, y):
    points = np.random.default_rng(0).normal(0, 50, (478, 2))
    before = crop.transform_points(points, crop.face_crop(points, 128))
    moved = points * scale + [x, y]
    after = crop.transform_points(moved, crop.face_crop(moved, 128))
    np.testing.assert_allclose(after, before, atol=1e-2)


def test_landmarks_that_are_not_embedded_are_ignored():
    points = np.concatenate([np.random.default_rng(0).normal(100, 20, (478, 2)), np.ones((478, 1))], 1)
    absent = points.copy()
    absent[::7] = 0
    expected = crop.face_crop(points[points[:, 2] > 0][[i for i in range(478) if i % 7]], 64)
    np.testing.assert_allclose(crop.face_crop(absent, 64), expected)
    assert (crop.transform_points(absent, expected)[::7] == 0).all()


@settings(deadline=None)
@given(st.floats(0.15, 3), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_warp_puts_pixels_where_the_affine_map_says(scale, x, y):
    rows, columns = np.mgrid[0:240, 0:240] + 0.5
    ramp = np.stack([columns, rows, np.zeros_like(rows)], -1).astype(np.uint8)
    size = 48
    affine = crop.crop_affine(np.array([120 + 40 * x, 120 + 40 * y]), size / scale / 2, size)
    found = crop.warp(ramp, affine, size).astype(float)
    centres = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), -1)
    source = (centres - affine[:2, 2]) / affine[0, 0]
    inside = ((source > 2) & (source < 238)).all(-1)
    np.testing.assert_allclose(found[inside][:, :2], source[inside] - 0.5, atol=1.1)  # the ramp is truncated


def test_warp_averages_when_it_shrinks():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 254
    small = crop.warp(stripes, crop.resize_affine(400, 40), 40)
    assert np.abs(small[2:-2, 2:-2].astype(int) - 127).max() <= 2


def test_the_border_is_repeated_for_pictures_and_black_for_masks():
    white = np.full((50, 50), 255, np.uint8)
    affine = crop.crop_affine(np.array([0.0, 25.0]), 50, 32)
    assert (crop.warp(white, affine, 32) == 255).all()
    assert (crop.warp(white, affine, 32, cv2.BORDER_CONSTANT)[:, :15] == 0).all()


@settings(deadline=None)
@given(sizes, sizes)
def test_resizing_keeps_the_mean(old, new):
    image = np.random.default_rng(0).random((old, old, 3)).astype(np.float32)
    if new > old:
        image[:] = image.mean((0, 1))
    found = crop.resize_area(image, new)
    np.testing.assert_allclose(found.mean((0, 1)), image.mean((0, 1)), atol=1e-3)
