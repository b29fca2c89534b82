import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from mosar.datasets import lights, portrait_statistics
from mosar.datasets.portrait_measurement import Portrait, detected_boxes, detector_response, summarise
from mosar.datasets.portrait_statistics import Group, PortraitStatistics, expression_groups
from mosar.errors import DataError
from mosar.models.head.expressions import NAMES
from mosar.models.shading import sh

BOX = (np.zeros(3), np.full(3, 0.01))
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def portrait(rng, smile):
    scores = np.full(52, 0.01, np.float32)
    scores[[NAMES.index("mouthSmileLeft"), NAMES.index("mouthSmileRight")]] = smile + rng.normal(0, 0.02)
    return Portrait(scores, rng.normal((3, -2, 0), 4), np.zeros(4), rng.normal(0.1, 0.05, 8), float(np.exp(-1.2)))


def test_the_committed_statistics_are_small_and_show_no_single_person():
    found = portrait_statistics.load()
    assert portrait_statistics.ASSET.stat().st_size < 12_000
    assert found.count >= 200
    assert min(g.share for g in found.groups) * found.count >= portrait_statistics.SMALLEST - 1
    weights = np.array([found.expression(NAMES, np.random.default_rng(s)) for s in range(300)])
    assert 0 <= weights.min() <= weights.max() <= 1
    assert weights[:, NAMES.index("mouthSmileLeft")].mean() > 0.4  # official portraits smile
    assert weights[:, NAMES.index("jawOpen")].mean() < 0.2
    assert not weights[:, [n.startswith("eyeLook") for n in NAMES]].any()


def test_statistics_come_back_from_their_file():
    rng = np.random.default_rng(0)
    found = summarise([portrait(rng, smile) for smile in rng.choice([0.1, 0.9], 80)], (np.zeros(52), np.ones(52)), BOX)
    again = PortraitStatistics.from_json(json.loads(json.dumps(found.to_json())))
    a, b = (one.expression(NAMES, np.random.default_rng(4)) for one in (found, again))
    np.testing.assert_allclose(a, b, atol=2e-3)
    np.testing.assert_allclose(again.pose[1], found.pose[1], atol=1e-3)
    with pytest.raises(DataError, match="version 2"):
        PortraitStatistics.from_json({**found.to_json(), "version": 2})
    with pytest.raises(DataError, match="shapes"):
        PortraitStatistics.from_json({**found.to_json(), "detector": {"bias": [0], "slope": [1]}})


def test_groups_are_those_of_the_scores():
    rng = np.random.default_rng(1)
    scores = np.stack([portrait(rng, smile).scores_e for smile in [0.04] * 60 + [0.9] * 100])
    groups = sorted(expression_groups(scores), key=lambda g: g.mean_e[NAMES.index("mouthSmileLeft")])
    assert sum(g.share for g in groups) == pytest.approx(1)
    assert groups[0].mean_e[NAMES.index("mouthSmileLeft")] ** 2 < 0.1
    assert groups[-1].mean_e[NAMES.index("mouthSmileLeft")] ** 2 > 0.8
    assert len(expression_groups(scores[:30])) == 1  # too few for several


def test_the_response_of_a_detector_is_inverted():
    rng = np.random.default_rng(2)
    weights = rng.uniform(0, 1, (300, 52)) * (rng.random((300, 52)) < 0.5)
    bias, slope = detector_response(weights, 0.1 + 0.5 * weights + rng.normal(0, 0.01, weights.shape))
    np.testing.assert_allclose(bias, 0.1, atol=0.01)
    np.testing.assert_allclose(slope, 0.5, atol=0.02)
    group = Group(1.0, np.sqrt(np.full(52, 0.35)), np.zeros((1, 52)))
    plain = portrait_statistics.load()
    made = dataclasses.replace(plain, groups=(group,), bias_e=bias, slope_e=slope)
    drawn = made.expression(["mouthSmileLeft", "mouthPucker"], rng)
    np.testing.assert_allclose(drawn, 0.5, atol=0.05)


def test_the_detector_s_box_is_measured_against_the_true_one():
    rng = np.random.default_rng(3)
    true = np.concatenate([rng.uniform(20, 80, (30, 478, 2)), np.ones((30, 478, 1))], 2)
    seen = (true[..., :2] - 50) * 1.1 + 50 + [0, -6.0]
    seen += rng.normal(0, 0.3, (30, 1, 2))
    mean, spread = detected_boxes(seen, true)
    np.testing.assert_allclose(mean, [0, -0.1, np.log(1.1)], atol=0.005)
    assert 0 < spread[1] < 0.02


@pytest.mark.parametrize("seed", range(3))
def test_lamps_give_a_light_the_low_bands_of_a_portrait(seed):
    low = np.array([1.0, 0.25, 0.6, 0.2, 0.05, 0.1, 0.3, 0.05, 0.0])
    light = lights.random_light(np.random.default_rng(seed), lights.TRAIN_LIGHTS, low_9=low)
    found = light.sh_l3[:9] @ LUMINANCE
    front = [found[1:4] / found[0], low[1:4]]
    assert np.corrcoef(*front)[0, 1] > 0.9
    drawn = sh.from_environment(torch.from_numpy(lights.environment(light)).double())[:9].numpy() @ LUMINANCE
    np.testing.assert_allclose(drawn, found, atol=0.08 * found[0])  # the lamps are in the environment map too


def test_light_is_measured_on_a_rendered_face(head):
    """A face lit from its left is measured as lit from its left."""
    from mosar.datasets import schema
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.portrait_measurement import measure
    from mosar.datasets.virtual_stage import skin
    from mosar.datasets.virtual_stage.capture import VirtualStage, capture
    from mosar.datasets.virtual_stage.subjects import sample_subject
    from mosar.datasets.virtual_stage.uv_regions import atlas

    stage = VirtualStage(head, 96, 160, lights.TRAIN_LIGHTS, portraits=1.0, metering=("spot",))
    found, true = [], []
    with Detector() as detector:
        for seed in (11, 12, 13, 14, 15, 16):
            person = sample_subject(head, seed)
            sample, _ = capture(stage, person, skin.paint(atlas(head, 96), person), 0)
            faces = detector.detect(cv2.copyMakeBorder(schema.stored(sample["image"]), *4 * [20], cv2.BORDER_REPLICATE))
            if faces:
                picture = cv2.copyMakeBorder(schema.stored(sample["image"]), *4 * [20], cv2.BORDER_REPLICATE)
                light = measure(head, picture, faces[0]).light
                grey = sample["light"][:9] @ LUMINANCE
                found.append(light[[0, 2]])
                true.append(grey[[1, 3]] / grey[0])
    assert len(found) >= 4
    assert np.corrcoef(np.ravel(found), np.ravel(true))[0, 1] > 0.5
