import numpy as np
import pytest

from mosar.datasets.portrait import crop_portrait, without_borders
from mosar.datasets.skin_mask import OVAL
from mosar.datasets.upright import turn_upright
from mosar.jobs.evaluation.segmentation.outline import landmark_classes
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
    np.testing.assert_array_equal(without_borders(scene)[0], scene)
    framed = np.full((150, 140, 3), 255, np.uint8)
    framed[20:140, 10:110] = scene
    framed[:20] -= np.random.default_rng(2).integers(0, 3, (20, 140, 3), dtype=np.uint8)  # noise of JPEG
    found, corner = without_borders(framed)
    np.testing.assert_array_equal(found, scene)
    assert corner.tolist() == [10, 20]
    assert without_borders(np.zeros((50, 60, 3), np.uint8))[0].shape == (50, 60, 3)


def test_a_small_picture_on_a_page_is_found(scene):
    page = np.full((400, 350, 3), 255, np.uint8)
    page[250:370, 20:120] = scene
    found, corner = without_borders(page)
    np.testing.assert_array_equal(found, scene)
    assert corner.tolist() == [20, 250]


def test_a_plain_background_is_no_border():
    passport = np.full((400, 300, 3), 255, np.uint8)
    y, x = np.mgrid[0:400, 0:300]
    passport[((x - 150) / 80) ** 2 + ((y - 220) / 100) ** 2 < 1] = (180, 130, 110)
    passport[(y > 320) & (np.abs(x - 150) < 120)] = (40, 40, 60)
    np.testing.assert_array_equal(without_borders(passport)[0], passport)


def test_corners_of_a_turned_photograph_are_outside(scene):
    points = points_around(50, 60, 40)
    turned = (points - [50, 60]) @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + [50, 60]
    upright = turn_upright(scene, turned)
    found = crop_portrait(upright.image_hw3, upright.landmarks_n2, 96, upright.corners_42)
    centres = np.stack(np.meshgrid(np.arange(96) + 0.5, np.arange(96) + 0.5), -1).reshape(-1, 2)
    to_photograph = np.linalg.inv(found.to_crop_33 @ upright.turn_33)
    at = centres @ to_photograph[:2, :2].T + to_photograph[:2, 2]
    depth = np.minimum(np.minimum(at[:, 0], 100 - at[:, 0]), np.minimum(at[:, 1], 120 - at[:, 1]))
    assert found.inside_hw.ravel()[depth > 2].all()
    assert not found.inside_hw.ravel()[depth < -2].any()
    assert (depth < -2).mean() > 0.05


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
