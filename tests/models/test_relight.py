import math

import pytest
import torch

from mosar.models.relight import _turns, perturb_light, random_lights, uniform_light
from mosar.models.shading import irradiance, sh


@pytest.fixture
def lights():
    generator = torch.Generator().manual_seed(0)
    light = 0.3 * torch.randn(6, 81, 3, generator=generator)
    light[:, 0] += 4.0
    return light


def test_uniform_light_has_irradiance_pi():
    normals = torch.nn.functional.normalize(torch.randn(2, 50, 3), dim=-1)
    torch.testing.assert_close(irradiance(uniform_light(2), normals), torch.full((2, 50, 3), math.pi))


def test_random_lights_are_exposed_for_the_face(lights):
    generator = torch.Generator().manual_seed(1)
    normals = torch.nn.functional.normalize(torch.randn(1, 400, 3, generator=generator), dim=-1)
    normals[..., 2] = normals[..., 2].abs()
    levels = []
    for scale in (0.01, 100.0):
        for _ in range(8):
            levels.append(
                irradiance(random_lights(scale * lights, generator), normals.expand(6, -1, -1)).mean() / math.pi
            )
    assert torch.stack(levels).isfinite().all()
    assert 0.6 < float(torch.stack(levels).mean()) < 1.6


def test_random_lights_follow_their_generator(lights):
    a, b, c = (random_lights(lights, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)


def test_turns_are_about_the_vertical():
    rotation = _turns(torch.tensor([0.3, -2.0]))
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3))
    torch.testing.assert_close(rotation @ torch.tensor([0.0, 1.0, 0.0]), torch.tensor([[0.0, 1, 0], [0, 1, 0]]))
    light = sh.directional(torch.tensor([[0.0, 0.0, 1.0]]), torch.ones(1, 3))
    toward = _turns(torch.tensor([math.pi / 2]))[0] @ torch.tensor([0.0, 0.0, 1.0])
    turned = sh.rotate(light, _turns(torch.tensor([math.pi / 2])))
    torch.testing.assert_close(turned, sh.directional(toward[None], torch.ones(1, 3)), atol=1e-5, rtol=0)


def test_errors_of_a_light_grow_with_its_bands_and_are_alike_in_all_channels(lights):
    generator = torch.Generator().manual_seed(0)
    many = lights[:1].expand(800, -1, -1)
    error = perturb_light(many, generator) - many
    for band, share in ((0, 0.14), (1, 0.13), (2, 0.24), (3, 0.37)):
        own = slice(band**2, (band + 1) ** 2)
        rms = float(lights[0, own].square().mean().sqrt())
        found = float(error[:, own].square().mean().sqrt())
        assert 0.9 * share * rms < found < 1.5 * share * rms  # each channel's gain errs besides
    third = error[:, 9:16].flatten(0, 1)
    assert float(torch.corrcoef(third.T)[0, 1]) > 0.8
    twice = perturb_light(2.0 * many, torch.Generator().manual_seed(3))
    torch.testing.assert_close(twice, 2.0 * perturb_light(many, torch.Generator().manual_seed(3)))
