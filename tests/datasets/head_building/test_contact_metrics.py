"""Lids and lips of the default head, and of heads whose lids or lips were moved by a known distance."""

import dataclasses

import numpy as np
import pytest
import torch

from mosar.datasets.head_building.contact_metrics import contact_metrics, lid_depths, lip_gap
from mosar.models.head import load_head
from mosar.models.head.expression_model import expression_model

HEAD = load_head()
BLINKS = [HEAD.expression_names.index(name) for name in ("eyeBlinkLeft", "eyeBlinkRight")]


def template(head=HEAD):
    return torch.tensor(head.template_v3)


def test_the_default_head_keeps_lids_out_and_lips_shut():
    found = contact_metrics(HEAD, people=6)
    assert found["lid_in_eye_mm_p99"] < 0.3
    assert found["lip_gap_mm"] < 0.5


def test_lids_inside_the_eyeball_are_measured():
    eye = expression_model(HEAD, torch.device("cpu"), torch.float32).eyes[0]
    vertices = HEAD.template_v3.copy()
    ball = eye.ball_k.numpy()
    centre = vertices[ball].mean(0)
    vertices[ball] = centre + 1.2 * (vertices[ball] - centre)
    bad = dataclasses.replace(HEAD, template_v3=vertices)
    depth = lid_depths(bad, template(bad)[None], BLINKS)
    assert depth.max() > 1.5
    assert lid_depths(HEAD, template()[None], BLINKS).max() < 0.6


def test_an_open_mouth_is_a_slit():
    open_v3 = template() + torch.tensor(0.1 * HEAD.expressions_ev3[HEAD.expression_names.index("jawOpen")])
    assert lip_gap(HEAD, open_v3) > lip_gap(HEAD, template()) + 0.8
    assert lip_gap(HEAD, template()) == pytest.approx(lip_gap(HEAD, template() + torch.tensor([3.0, -2, 1])), abs=0.1)


def test_heads_without_eyes_and_mouth_have_no_such_metrics():
    bare = dataclasses.replace(HEAD, material_f=np.zeros_like(HEAD.material_f), material_names=("skin",))
    assert contact_metrics(bare, people=1) == {}
