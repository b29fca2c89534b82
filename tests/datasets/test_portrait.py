import numpy as np
import pytest

from mosar.datasets.portrait import crop_portrait, scene_box
from mosar.datasets.skin_mask import OVAL, landmark_classes
from mosar.models.face_classes import CLASSES


@pytest.fixture
def scene():
    return np.random.default_rng(0).integers(0, 255, (120, 100, 3), dtype=np.uint8)


def points_around(x, y, radius):
    """478 points on a disc; the outline of the face is its rim."""
    random = np.random.default_rng(1)
    points = np.array([x, y]) + random.uniform(-0.5, 0.5, (478, 2)) * radius
    angle = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points[list(OVAL)] = np.stack([x + radius * np.sin(angle), y - radius * np.cos(angle)], 1)
    return points


def test_a_frame_is_no_scene(scene):
    assert scene_box(scene) == (0, 0, 100, 120)
    framed = np.full((150, 140, 3), 255, np.uint8)
    framed[20:140, 10:110] = scene
    framed[:20] -= np.random.default_rng(2).integers(0, 3, (20, 140, 3), dtype=np.uint8)  # noise of JPEG
    assert scene_box(framed) == (10, 20, 110, 140)
    assert scene_box(np.zeros((50, 60, 3), np.uint8)) == (0, 0, 60, 50)


def test_a_frame_changes_nothing_but_the_place(scene):
    points = points_around(50, 60, 30)
    plain = crop_portrait(scene, points, 64)
    framed = np.full((180, 160, 3), 255, np.uint8)
    framed[30:150, 30:130] = scene
    found = crop_portrait(framed, points + 30, 64)
    np.testing.assert_array_equal(found.image_hw3, plain.image_hw3)
    np.testing.assert_array_equal(found.inside_hw, plain.inside_hw)
    np.testing.assert_allclose(found.intrinsics_33, plain.intrinsics_33, atol=1e-6)


def test_hair_over_the_forehead_is_not_skin():
    points = points_around(64, 70, 45)
    random = np.random.default_rng(3)
    image = np.full((128, 128, 3), (90, 130, 160), np.uint8)
    y, x = np.mgrid[0:128, 0:128] + 0.5
    face = (x - 64) ** 2 + (y - 70) ** 2 < 45**2
    image[face] = (205, 160, 135)
    image[((x - 64) ** 2 + (y - 70) ** 2 < 60**2) & (y < 45)] = (60, 40, 25)  # hair around the face, and a fringe
    fringe = face & (y < 45)
    image = np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    brows = [*range(46, 56), *range(276, 296)]
    points[brows, 1] = 55  # the brows lie below the fringe
    skin = landmark_classes(image, points)[[CLASSES.index(n) for n in ("skin", "brows")]].sum(0)
    assert skin[fringe].mean() < 0.15
    assert skin[face & (y > 62) & (np.abs(x - 64) < 30)].mean() > 0.6
    assert skin[~face].mean() < 0.02
