import math

import pytest
import torch
from torch.nn.functional import normalize

from mosar.models.shading import Light, Material, negative_lobes, sh, shade


@pytest.fixture
def ball():
    """Material, normals and views of 400 random points on a sphere."""
    generator = torch.Generator().manual_seed(0)
    normals = normalize(torch.randn(1, 400, 3, generator=generator), dim=-1)
    values = [torch.rand(1, 400, n, generator=generator) for n in (3, 1, 1, 1)]
    return Material(*values), normals, normalize(normals + torch.tensor([0.0, 0.0, 0.5]), dim=-1)


def test_environment_and_directional_light_add_up(ball):
    sun = sh.directional(torch.tensor([[0.0, 0.0, 1.0]]), torch.ones(1, 3))
    sky = sh.from_environment(torch.rand(16, 32, 3, generator=torch.Generator().manual_seed(1)))[None]
    expected = shade(*ball, sun) + shade(*ball, sky)
    torch.testing.assert_close(Light(sun + sky)(*ball), expected)


def test_a_light_is_found_from_its_shading(ball):
    truth = sh.directional(normalize(torch.tensor([[1.0, 1.0, 1.0]]), dim=-1), torch.tensor([[1.0, 0.8, 0.6]]))
    observed = shade(*ball, truth)
    light = Light(torch.zeros(1, 81, 3))
    optimizer = torch.optim.LBFGS(light.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = (light(*ball) - observed).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    torch.testing.assert_close(light.coefficients_blc[:, :9], truth[:, :9], atol=0.02, rtol=0)
    torch.testing.assert_close(light(*ball), observed, atol=0.01, rtol=0)


def test_turning_and_negative_lobes():
    light = Light(sh.directional(torch.tensor([[0.0, 0.0, 1.0]]), torch.ones(1, 3)))
    quarter = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]])
    turned = sh.directional(torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1, 3))
    torch.testing.assert_close(light.turned(quarter).coefficients_blc.data, turned, atol=1e-5, rtol=0)
    torch.testing.assert_close(light.negative(), negative_lobes(light.coefficients_blc))
    assert Light(torch.full((1, 81, 3), 0.0).index_fill(1, torch.tensor([0]), math.pi)).negative() == 0


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(1, 80, 3\).*\(B, 81, 3\)"):
        Light(torch.zeros(1, 80, 3))
