import math

import pytest
import torch
from torch.nn.functional import normalize

from mosar.models.reconstruct.light_estimation import solve_light
from mosar.models.shading import Material, irradiance, shade

COUNT = 600


@pytest.fixture
def face():
    """Material, normals and views of points that a frontal camera sees, and the light on them."""
    generator = torch.Generator().manual_seed(0)
    normals = normalize(torch.randn(1, COUNT, 3, generator=generator), dim=-1)
    normals[..., 2] = normals[..., 2].abs()
    values = [torch.full((1, COUNT, n), x) for n, x in ((3, 0.4), (1, 0.35), (1, 0.9), (1, 0.2))]
    light = torch.zeros(1, 81, 3)
    light[:, 0], light[:, 1:4] = math.sqrt(4 * math.pi), torch.tensor([0.8, 1.2, 0.3])[:, None]
    return Material(*values), normals, torch.tensor([0.0, 0.0, 1.0]).expand_as(normals), light


def test_a_wrong_estimate_is_corrected(face):
    material, normals, views, light = face
    observed = shade(*face)
    estimate = light * torch.tensor([1.3, 1.0, 0.8])
    estimate[:, 1:4] *= 0.1
    found = solve_light(material, normals, views, observed, estimate)

    def error(candidate):
        return float((shade(material, normals, views, candidate) - observed).square().mean().sqrt())

    assert error(found) < 0.4 * error(estimate)


def test_occluded_points_change_the_light_little(face):
    material, normals, views, light = face
    observed = shade(*face)
    found = solve_light(material, normals, views, observed, light)
    hidden = observed.clone()
    hidden[:, ::8] = 0.02  # hair, in every eighth point
    robust = solve_light(material, normals, views, hidden, light)
    difference = irradiance(robust, normals) - irradiance(found, normals)
    assert float(difference.abs().max() / irradiance(found, normals).mean()) < 0.1


def test_irradiance_is_positive_on_every_side(face):
    material, normals, views, light = face
    sides = normalize(torch.randn(1, 500, 3, generator=torch.Generator().manual_seed(1)), dim=-1)
    # Dark towards the rim, as where hair shades the skin: negative light from behind would explain this best.
    observed = shade(*face) * (normals[..., 2:] ** 2).clamp_min(0.05)
    found = solve_light(material, normals, views, observed, light)
    assert float((irradiance(found, sides) / irradiance(light, sides)).min()) > 0


def test_a_brighter_photograph_has_a_brighter_light(face):
    material, normals, views, light = face
    observed = shade(*face)
    once, twice = (solve_light(material, normals, views, gain * observed, light) for gain in (1.0, 2.0))
    torch.testing.assert_close(irradiance(twice, normals), 2 * irradiance(once, normals), rtol=0.02, atol=0.02)
