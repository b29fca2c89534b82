"""Photographs again, regions painted over, points, the landmark fit, and invalid input."""

import numpy as np
import pytest
import torch

from mosar.datasets.polygons import inside
from mosar.errors import ConfigError
from mosar.jobs import registry
from mosar.jobs.evaluation.avatar import drifts, points, portraits, shape
from mosar.jobs.evaluation.avatar.config import Config
from mosar.jobs.evaluation.avatar.landmark_fit import IRISES, fit_landmarks
from mosar.models.camera import Camera, project
from mosar.models.head.morph import landmarks

RNG = np.random.default_rng(0)


def test_drifts():
    image = RNG.integers(20, 90, (40, 30, 3), np.uint8)
    up = drifts.DRIFTS["one_stop_brighter"](image)
    np.testing.assert_allclose(drifts.brighter(up, -1.0).astype(int), image, atol=1)
    assert (drifts.DRIFTS["half_a_stop_darker"](image) < image).all()
    np.testing.assert_array_equal(drifts.mirrored(drifts.mirrored(image)), image)
    np.testing.assert_allclose(drifts.under_temperature(image, 6504.0).astype(int), image, atol=1)
    grey = np.full((4, 4, 3), 128, np.uint8)
    warm, cold = (drifts.DRIFTS[name](grey)[0, 0].astype(int) for name in ("4500_k", "8000_k"))
    assert warm[0] > 135
    assert warm[2] < 120
    assert cold[0] < 124
    assert cold[2] > 132
    assert drifts.half_size(image).shape == (20, 15, 3)
    assert 0 < np.abs(drifts.jpeg(image).astype(int) - image).mean() < 30


def test_half_a_face_and_regions(captures, detected):
    capture, p = min(zip(captures, detected, strict=True), key=lambda both: abs(both[0].yaw))
    image = capture.photograph_hw3
    left, right = (inside(p, points.half_hull(p, side)) for side in (True, False))
    assert (left[263], left[33]) == (True, False)  # the subject's left and right outer eye corners
    assert (right[33], right[263]) == (True, False)
    assert (left | right).mean() > 0.95
    for region, (within, without) in {
        "nose": (4, 61),
        "mouth": (0, 33),
        "jaw": (199, 4),
        "brow_and_eye": (386, 33),
    }.items():
        hull = points.region_hull(p, region)
        found = inside(p, hull)
        assert (found[within], found[without]) == (True, False), region
        painted = points.covered(image, hull, np.zeros(3, np.uint8))
        changed = (painted != image).any(-1)
        x, y = p[within].astype(int)
        assert changed[y, x]
        assert 0.005 < changed.mean() < 0.2


def test_points_that_count(head, captures, prior):
    chosen = points.scored(head)
    assert not chosen[list(IRISES)].any()
    assert chosen[[33, 263, 1, 61, 291]].all()
    truth = captures[0].truth
    exact = truth.landmarks_px().nan_to_num().numpy()
    assert points.nme(truth, exact, chosen) < 1e-6
    eyes = np.linalg.norm(exact[33] - exact[263])
    assert points.nme(truth, exact + np.array([0.1 * eyes, 0]), chosen) == pytest.approx(0.1, rel=1e-4)
    assert np.isnan(points.nme(truth, exact, chosen & False))


def test_the_landmark_fit_finds_people_of_its_own_model(prior):
    generator = torch.Generator().manual_seed(1)
    config, head = prior.model.config, prior.head
    identity = torch.randn(1, config.identity_codes, generator=generator)
    neutral = prior.model.decode(identity, prior.model.neutral_code())
    mesh = prior.model.decode(identity, 0.5 * torch.randn(1, config.expression_codes, generator=generator))
    focal = 1.2 * 640
    intrinsics = torch.tensor([[[focal, 0.0, 240.0], [0.0, focal, 320.0], [0.0, 0.0, 1.0]]])
    camera = Camera(intrinsics, torch.diag(torch.tensor([1.0, -1.0, -1.0]))[None], torch.tensor([[0.0, -30.0, 800.0]]))
    seen = project(camera, landmarks(head, mesh))[0].numpy()
    fit = fit_landmarks(prior, seen, 640, 480, noise=0.004)
    average, true = shape.array(prior.neutral_1v3), shape.array(neutral)
    assert shape.vertex_mm(head, shape.array(fit.neutral_1v3), true) < 0.7 * shape.vertex_mm(head, average, true)
    found = project(fit.camera, landmarks(head, fit.mesh_1v3))[0].numpy()
    chosen = points.scored(head)
    assert np.linalg.norm(found - seen, axis=1)[chosen].mean() < 1.0
    stiff = fit_landmarks(prior, seen, 640, 480, noise=100.0)
    assert shape.vertex_mm(head, shape.array(stiff.neutral_1v3), average) < 0.05


def test_portraits_of_a_folder(tmp_path):
    for name in ("A000019", "A000018", "B000029", "C000011"):
        (tmp_path / f"{name}.jpg").write_bytes(b"")
    assert [p.name for p in portraits.find_portraits(str(tmp_path), None)] == ["A000019", "B000029"]
    names = tmp_path / "names.txt"
    names.write_text("C000011\nA000018.jpg\n")
    assert [p.name for p in portraits.find_portraits(str(tmp_path), str(names))] == ["A000018", "C000011"]
    names.write_text("Z000019\n")
    with pytest.raises(ConfigError, match="0 of 4"):
        portraits.find_portraits(str(tmp_path), str(names))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 57])
def test_no_chunk_has_a_single_photograph(count):
    chunks = portraits.chunks_of(list(range(count)))
    assert [n for chunk in chunks for n in chunk] == list(range(count))
    assert min(len(chunk) for chunk in chunks) >= min(count, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "set"),
        (("set=portraits",), "folder"),
        (("set=eval-v1", "folder=/tmp"), "folder"),
        (("set=eval-v1", "names=/tmp/x"), "names"),
        (("set=eval-v1", "compare=[a]"), "compare"),
        (("set=eval-v1", "compare=a,a"), "compare"),
        (("set=eval-v1", "bundle=none"), "none"),
        (("set=eval-v1", "colour=1"), "colour"),
    ],
)
def test_invalid_input_is_a_one_line_error(arguments, message, tmp_path, capsys):
    words = ["what=avatar", *arguments, f"storage={tmp_path}"]
    assert registry.run("evaluate", "mosar.jobs.evaluation", "what", "evaluate", words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_two_bundles_are_a_list():
    from mosar.jobs import hydra_main

    assert hydra_main.compose("evaluate", ["compare=old,new"])["compare"] == ["old", "new"]
    assert Config(compare=("old", "new"), set="x").bundles == ("old", "new")
