import math

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre

from mosar.models.shading import irradiance, negative_lobes, reflection, sh
from mosar.models.shading.light import _phong


def directions(count, seed=0):
    at = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(at, dim=-1)


def lights(batch=2, seed=0):
    return torch.randn(batch, 81, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def constant(value=1.0):
    light = torch.zeros(1, 81, 3, dtype=torch.float64)
    light[:, 0] = value * math.sqrt(4 * math.pi)
    return light


def integrate(image_hw3, normals, kernel):
    """Brute force: sum over the pixels of an environment map."""
    at = sh.environment_directions(*image_hw3.shape[:2]).reshape(-1, 3)
    weight = torch.from_numpy(sh.row_solid_angles(*image_hw3.shape[:2])).repeat_interleave(image_hw3.shape[1])
    return kernel(normals @ at.mT) @ (weight[:, None] * image_hw3.reshape(-1, 3))


def test_constant_light_gives_pi_everywhere():
    torch.testing.assert_close(irradiance(constant(2.0), directions(20)), torch.full((20, 3), 2 * math.pi).double())
    one = torch.ones(20, 1).double()
    torch.testing.assert_close(
        irradiance(constant(2.0), directions(20), one), torch.full((20, 3), 2 * math.pi).double()
    )
    torch.testing.assert_close(reflection(constant(2.0), directions(20)), torch.full((20, 3), 2.0).double())


def test_band_limited_light_is_integrated_exactly():
    light, normals = lights(1), directions(20)
    image = sh.to_environment(light[0], 512)
    expected = integrate(image, normals, lambda cosine: cosine.clamp_min(0))
    error = (irradiance(light, normals) - expected).abs().max() / expected.abs().mean()
    assert float(error) < 1e-4


def test_the_lobe_is_the_phong_lobe():
    light, mirror = lights(1), directions(20)
    image = sh.to_environment(light[0], 256)
    for sharpness in (4.0, 32.0):
        expected = integrate(image, mirror, lambda c, s=sharpness: (s + 1) / (2 * math.pi) * c.clamp_min(0) ** s)
        torch.testing.assert_close(reflection(light, mirror, sharpness), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("sharpness", [1.0, 7.5, 32.0, 40.0])
def test_lobe_coefficients_are_exact(sharpness):
    x, weight = np.polynomial.legendre.leggauss(400)
    x, weight = (x + 1) / 2, weight / 2
    for degree, value in enumerate(_phong(sharpness)):
        lobe = (sharpness + 1) * x**sharpness * legendre.legval(x, np.eye(9)[degree])
        assert abs((weight * lobe).sum() - value) < 1e-6


def test_a_directional_light_is_a_cosine():
    cosine = torch.linspace(-1, 1, 401).double()
    normals = torch.stack([torch.zeros_like(cosine), (1 - cosine**2).sqrt(), cosine], -1)
    light = sh.directional(torch.tensor([[0.0, 0, 1]]).double(), torch.ones(1, 3).double())
    error = (irradiance(light, normals)[:, 0] - cosine.clamp_min(0)).abs()
    assert float(error.max()) < 0.034
    assert abs(float(cosine[error.argmax()])) < 0.02


def test_translucency():
    light, normals = lights(1), directions(50)
    zero, one = torch.zeros(50, 1).double(), torch.ones(50, 1).double()
    torch.testing.assert_close(irradiance(light, normals, zero), irradiance(light, normals))
    sun = sh.directional(torch.tensor([[0.0, 0, 1]]).double(), torch.ones(1, 3).double())
    terminator = irradiance(sun, torch.tensor([[1.0, 0, 0]]).double(), one[:1])[0]
    torch.testing.assert_close(terminator, torch.tensor([0.119, 0.065, 0.046]).double(), atol=6e-4, rtol=0)
    nodes, weights = sh._quadrature(9)
    mean = lambda t: (weights[:, None] * irradiance(light, nodes, t.expand(len(nodes), 1))).sum(0)  # noqa: E731
    torch.testing.assert_close(mean(one[:1]), mean(zero[:1]))


def test_turning_light_and_normals_together_changes_nothing():
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    turn = q * torch.sign(torch.linalg.det(q))
    light, at = lights(1), directions(20)
    turned, t = sh.rotate(light, turn[None]), torch.full((20, 1), 0.5).double()
    torch.testing.assert_close(irradiance(turned, at @ turn.mT, t), irradiance(light, at, t))
    torch.testing.assert_close(reflection(turned, at @ turn.mT), reflection(light, at))


def test_gradients():
    light, at = lights(2).requires_grad_(), directions(6).view(2, 3, 3).clone().requires_grad_()
    t = torch.rand(2, 3, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(irradiance, (light, at))
    assert torch.autograd.gradcheck(irradiance, (light, at, t))
    assert torch.autograd.gradcheck(reflection, (light, at))
    assert torch.autograd.gradcheck(negative_lobes, (light,))


def test_negative_lobes():
    torch.testing.assert_close(negative_lobes(constant()), torch.zeros(1).double())
    assert float(negative_lobes(-constant(2.0))) == pytest.approx(2 * math.pi + 2, rel=1e-3)


def test_wrong_shapes_are_named():
    for match, call in [
        (r"\(2, 25, 3\)", lambda: irradiance(lights()[:, :25], directions(4)[None])),
        (r"\(4, 3\), blur \(4,\)", lambda: irradiance(lights(1), directions(4), torch.ones(4))),
        ("sharpness", lambda: reflection(lights(1), directions(4), 0.0)),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
