import json
import math

import numpy as np
import pytest
import torch

from mosar.datasets import path_tracer
from mosar.datasets.lights import load_lights
from mosar.jobs import registry
from mosar.jobs.evaluation import shading
from mosar.models.shading import sh


@pytest.mark.parametrize("argument", ["suite=nothing", "", "suite=render,suite"])
def test_an_unknown_suite_is_reported(argument, capsys):
    assert registry.run("bench", "mosar.jobs.benchmarks", "suite", "run", [argument]) == 2
    assert "expected suite=NAME with one of reconstruct, render" in capsys.readouterr().err


def test_a_wrong_key_or_value_is_reported(capsys):
    assert registry.run("evaluate", "mosar.jobs.evaluation", "what", "evaluate", ["what=shading", "size=15"]) == 2
    assert "15" in capsys.readouterr().err
    assert registry.run("evaluate", "mosar.jobs.evaluation", "what", "evaluate", ["what=shading", "colour=1"]) == 2
    assert "colour" in capsys.readouterr().err


def test_the_last_line_is_json(capsys, monkeypatch):
    monkeypatch.setattr(shading, "evaluate", lambda config: {"size": config.size, "half": 0.5})
    assert registry.run("evaluate", "mosar.jobs.evaluation", "what", "evaluate", ["what=shading", "size=32"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last) == {"suite": "shading", "metrics": {"size": 32, "half": 0.5}}


def test_nine_bands_are_close_to_brute_force():
    for name in ("city", "sunrise"):
        image = torch.from_numpy(load_lights()[name]).double()
        assert shading.irradiance_error(image, sh.from_environment(image)) < 0.03


def test_gradients():
    assert shading.gradients_are_right()


def test_occlusion_of_a_corner():
    # Two half planes at a right angle: on the floor, half of the sky is hidden at the edge, and nothing far from it.
    vertices = np.array(
        [[-900.0, 0, -900], [900, 0, -900], [900, 0, 900], [-900, 0, 900], [-900, 900, -900], [900, 900, -900]]
    )
    triangles = np.array([[0, 2, 1], [0, 3, 2], [0, 1, 5], [0, 5, 4]])
    points = np.concatenate([vertices, [[0, 0, -899.0], [0, 0, 800]]])
    up = np.tile([0.0, 1, 0], (len(points), 1))
    ao = shading.ambient_occlusion(points, triangles, up)
    assert ao[6] == pytest.approx(0.5, abs=0.03)
    assert ao[7] > 0.95


def test_our_shading_matches_the_path_tracer():
    pytest.importorskip("mitsuba")
    image = load_lights()["city"]
    light = sh.from_environment(torch.from_numpy(image).double())
    subject = shading._sphere()
    shape = subject.reference(False, 100.0)
    decibels, pictures = shading._compare([shading._pair(subject, shape, image, light, (45.0, 5.0), 24, 100, False)])
    assert decibels > 36
    assert pictures.shape == (24, 72, 3)
    grey = path_tracer.sphere(100.0, path_tracer.skin({"type": "rgb", "value": 0.5}, None))
    span = math.degrees(2 * math.atan(110 / 900))
    white = np.ones((8, 16, 3), np.float32)
    white, whole = path_tracer.trace(grey, white, np.array([0.0, 0, 900]), np.zeros(3), span, 24, 64)
    assert white[whole].mean() == pytest.approx(0.5, abs=0.01)
