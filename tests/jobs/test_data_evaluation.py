import numpy as np
import pytest

from mosar.datasets.virtual_stage.subjects import TONE_AXES, TONE_MEAN, TONE_STD
from mosar.jobs.evaluation import data
from mosar.models.head import load_head


def test_distances_match_the_measurements():
    steps = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 3, 4]]) * TONE_STD
    np.testing.assert_allclose(data.mahalanobis(np.exp(TONE_MEAN + steps @ TONE_AXES)), [0, 2, 3, 5], atol=5e-3)
    groups = np.array(list(data.GROUPS.values()))
    assert max(data.group_distances(groups).values()) < 1e-6
    alone = data.group_distances(groups[:1])
    assert alone["African"] < 1e-6
    assert alone["Japanese"] > 20


@pytest.mark.parametrize(("yaw", "pitch", "expected"), [(0, 0, 0), (30, 0, 30), (0, -45, 45), (180, 0, 180)])
def test_turned_is_the_angle_to_the_camera(yaw, pitch, expected):
    a, b = np.deg2rad([yaw, pitch])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    camera = {"rotation": np.diag([1.0, -1, -1]) @ tilt @ turn}
    assert data.turned_degrees(camera) == pytest.approx(expected, abs=1e-4)


def test_skin_and_fronts_of_a_few_people():
    head = load_head()
    skins = data.skins(head, 4, 32, 900_000_000)
    assert skins["albedo_in_measured_range"] > 0.95
    found = data.fronts(head, 4, 192, 900_000_000)
    assert found["detector_found"] == 1.0
    assert found["captures_per_minute_fast"] > 0
