"""Lashes follow the lids of any person, keep their shape, and may be absent."""

import dataclasses

import numpy as np
import pytest
import torch

from mosar.avatar.render_mesh import render_mesh, render_vertices
from mosar.datasets.head_building import lash_bands
from mosar.models.head import lashes, load_head, sample_identity, shape
from mosar.models.head.head import Head

HEAD = load_head()


def _faces(**weights: float) -> torch.Tensor:
    person = sample_identity(HEAD, torch.Generator().manual_seed(3))
    expression = torch.zeros(1, len(HEAD.expression_names))
    for name, weight in weights.items():
        expression[0, HEAD.expression_names.index(name)] = weight
    return shape(HEAD, person.archetype_a[None], person.mode_m[None], expression)


def test_they_turn_with_the_head() -> None:
    rest = _faces().double()
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 0.4, -0.2], [-0.4, 0, 0.7], [0.2, -0.7, 0]]).double())
    moved = lashes.hairs(HEAD, rest @ turn + 5.0)
    assert torch.allclose(moved, lashes.hairs(HEAD, rest) @ turn + 5.0, atol=1e-4)


def test_upper_ones_go_down_with_the_lid_and_keep_their_length() -> None:
    rest, shut = (lashes.hairs(HEAD, _faces(eyeBlinkLeft=w))[0] for w in (0.0, 1.0))
    left, upper = rest[:, 0, 0] > 0, torch.zeros(len(rest), dtype=torch.bool)
    upper[left] = rest[left, -1, 1] > rest[left, 0, 1].median()
    fall = (rest - shut)[:, 0, 1]
    assert 4 < fall[upper].median() < 16
    assert fall[~left].abs().max() < 0.5
    lengths = [points.diff(dim=1).norm(dim=-1).sum(1) for points in (rest, shut)]
    assert torch.allclose(*lengths, atol=1e-3)
    assert 2 < lengths[0].mean() < 9


def test_bars_are_closed_to_the_outside() -> None:
    bars = lashes.bars(HEAD, _faces())[0]
    corners = bars[torch.from_numpy(lashes.bar_triangles(HEAD))]
    # Six times the signed volume. The bars are open at the roots, which lie in the skin: the volume hardly changes.
    inside = (
        bars.reshape(len(HEAD.lash_triangle_h), -1, 3)
        .mean(1)
        .repeat_interleave(len(corners) // len(HEAD.lash_triangle_h), 0)
    )
    a, b, c = (corners[:, i] - inside for i in range(3))
    assert (torch.cross(a, b, dim=-1) * c).sum(-1).reshape(len(HEAD.lash_triangle_h), -1).sum(1).min() > 0


def test_bars_of_lower_lashes_are_shorter_than_their_hairs() -> None:
    hairs = lashes.hairs(HEAD, torch.tensor(HEAD.template_v3)[None])[0]
    bars = lashes.bars(HEAD, torch.tensor(HEAD.template_v3)[None])[0].reshape(len(hairs), -1, 3)
    roots = hairs[:, 0]
    ratio = (bars[:, -1] - roots).norm(dim=-1) / (hairs[:, -1] - roots).norm(dim=-1)
    lower = hairs[:, -1, 1] < roots[:, 1]
    assert 0.2 < lower.double().mean() < 0.6
    assert torch.allclose(ratio, torch.where(lower, 0.3, 1.0), atol=1e-4)


def test_a_head_may_have_none() -> None:
    empty = {f.name: f.default_factory() for f in dataclasses.fields(Head) if f.name.startswith("lash")}  # type: ignore[misc]
    bald = dataclasses.replace(HEAD, **empty)
    assert render_vertices(bald, _faces()).shape == (1, len(HEAD.template_v3), 3)
    assert len(render_mesh(bald).triangles_f3) == len(HEAD.triangles_f3)
    assert render_mesh(bald).material_names == HEAD.material_names


def test_hairs_of_a_band() -> None:
    x, r = np.meshgrid(np.arange(6.0), np.arange(5.0), indexing="ij")
    band_v3 = np.stack([x, 0 * x, r], -1).reshape(-1, 3)
    n = np.arange(30).reshape(6, 5)
    quads_q4 = np.stack([n[:-1, :-1], n[1:, :-1], n[1:, 1:], n[:-1, 1:]], -1).reshape(-1, 4)
    order = np.random.default_rng(1).permutation(len(quads_q4))
    both = np.stack([band_v3, band_v3 + np.array([0, 7.0, 0])])
    hairs = lash_bands.hairs(both, quads_q4[order], 12, np.random.default_rng(0))
    assert np.allclose(hairs[1], hairs[0] + [0, 7, 0])
    assert np.allclose(hairs[0, :, 0, 2], 1)  # hairs start at the first row and point outwards
    assert (np.diff(hairs[0, :, :, 2], axis=1) > 0).all()
    with pytest.raises(Exception, match="not a grid"):
        lash_bands.hairs(both, quads_q4[:-1], 12, np.random.default_rng(0))
