"""The shade of lids on the eyeballs."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mosar.models.head import Head, occlusion, vertex_normals
from mosar.models.head.expression_model import express
from mosar.models.head.expressions import NAMES
from mosar.models.reconstruct.lid_shade import lid_shade


@pytest.fixture(scope="module")
def neutral(head: Head) -> torch.Tensor:
    return torch.tensor(head.template_v3)[None]


def blinked(head: Head, neutral: torch.Tensor) -> torch.Tensor:
    weights = torch.zeros(1, len(NAMES))
    for name in ("eyeBlinkLeft", "eyeBlinkRight"):
        weights[0, NAMES.index(name)] = 1.0
    return express(head, neutral, weights)


def test_eyes_are_brightest_between_the_lids(head, neutral):
    shade = lid_shade(head, neutral)[0, 0]
    size = len(shade)
    middle = size // 2
    assert float(shade[middle - 2 : middle + 2, middle - 2 : middle + 2].mean()) > 0.95
    assert 0.9 < float(shade.max()) < 1.5
    assert float(shade[:4].max()) == float(shade[-4:].max()) == pytest.approx(0.15)  # behind the lids
    column = shade[:, middle - 2 : middle + 2].mean(dim=1)
    upper, lower = column[: middle - 4].flip(0), column[middle + 4 :]
    assert (upper.diff() < 0.02).all()  # ever darker towards the lids
    assert (lower.diff() < 0.02).all()
    assert torch.allclose(shade, shade.flip(1), atol=0.12)  # both eyes share the map


def test_the_shade_is_that_of_rays_from_the_eyeballs(head, neutral):
    """Twice as much light reaches one point as another, says the map; so say rays of many more directions."""
    mesh = neutral[0].numpy().astype(np.float64)
    on_eyes = np.unique(head.triangles_f3[head.material_f == head.material_names.index("eyes")])
    normals = normalize(vertex_normals(neutral, torch.tensor(head.triangles_f3)), dim=-1)[0].numpy().astype(np.float64)
    uv = np.zeros((len(mesh), 2))
    uv[head.triangles_f3] = head.uv_w2[head.uv_triangles_f3]
    opening = occlusion.openness_at(head, mesh, mesh[on_eyes], normals[on_eyes], 4000)
    shade = lid_shade(head, neutral)[0, 0]
    at = (uv[on_eyes] * len(shade)).astype(int).clip(1, len(shade) - 2)
    found = np.array([shade[len(shade) - 1 - v, u] for u, v in at])
    shown = opening > 0.25
    assert shown.sum() > 10
    ratio = found[shown] / opening[shown]
    assert ratio.std() / ratio.mean() < 0.12


def test_closed_eyes_have_no_shade(head, neutral):
    shade = lid_shade(head, blinked(head, neutral))
    assert torch.equal(shade, torch.ones_like(shade))
    half = lid_shade(head, 0.5 * (neutral + blinked(head, neutral)))[0, 0]
    whole = lid_shade(head, neutral)[0, 0]
    assert float((half > 0.5).float().mean()) < 0.8 * float((whole > 0.5).float().mean())
