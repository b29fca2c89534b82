import math

import numpy as np
import pytest
import torch

from mosar.models.shading import Material, irradiance, reflection, sh, shade
from mosar.models.shading.material import SHARPNESS, environment_brdf


@pytest.fixture
def scene():
    """Material, normals, views and light of 2 x 5 points."""
    generator = torch.Generator().manual_seed(0)
    unit = lambda: torch.nn.functional.normalize(torch.randn(2, 5, 3, generator=generator, dtype=torch.float64), dim=-1)  # noqa: E731
    normals, views = unit(), unit()
    views = views * torch.sign((normals * views).sum(-1, keepdim=True))
    values = [torch.rand(2, 5, n, generator=generator, dtype=torch.float64) for n in (3, 1, 1, 1)]
    return Material(*values), normals, views, torch.randn(2, 81, 3, generator=generator, dtype=torch.float64)


def test_composition(scene):
    material, normals, views, light = scene
    facing = (normals * views).sum(-1, keepdim=True)
    a, b = environment_brdf(facing)
    diffuse = material.diffuse / math.pi * irradiance(light, normals, material.translucency)
    specular = (0.08 * material.specular * a + b) * reflection(sh.window(light), 2 * facing * normals - views)
    torch.testing.assert_close(shade(*scene), material.ao * (diffuse + specular))


def test_packed_points_are_the_same(scene):
    material, normals, views, light = scene
    flat = Material(
        *(x.flatten(0, 1) for x in (material.diffuse, material.specular, material.ao, material.translucency))
    )
    image = torch.arange(2).repeat_interleave(5)
    packed = shade(flat, normals.flatten(0, 1), views.flatten(0, 1), light, image)
    torch.testing.assert_close(packed, shade(*scene).flatten(0, 1))


def test_gradients(scene):
    material, normals, views, light = scene
    inputs = [material.diffuse, material.specular, material.ao, material.translucency, normals, views, light]
    inputs = [x.clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(lambda *x: shade(Material(*x[:4]), *x[4:]), inputs)


def test_the_split_sum_is_the_integral():
    # This quadrature is over light directions; the implementation integrates over half vectors.
    alpha = 1 / math.sqrt(2 * SHARPNESS + 1)
    nodes, weight = np.polynomial.legendre.leggauss(300)
    phi = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    theta = (nodes + 1) * np.pi / 4
    lx = np.sin(theta)[:, None] * np.cos(phi)
    ly, lz = np.sin(theta)[:, None] * np.sin(phi), np.cos(theta)[:, None] + 0 * phi
    solid = (weight * np.pi / 4 * np.sin(theta))[:, None] * (2 * np.pi / len(phi))
    smith = lambda c: 2 * c / (c + np.sqrt(alpha**2 + (1 - alpha**2) * c * c))  # noqa: E731
    for cosine in (0.15, 0.4, 0.7, 1.0):
        vx, vz = math.sqrt(1 - cosine**2), cosine
        hx, hy, hz = lx + vx, ly, lz + vz
        length = np.sqrt(hx**2 + hy**2 + hz**2)
        nh, vh = hz / length, (vx * hx + vz * hz) / length
        d = alpha**2 / (np.pi * ((alpha**2 - 1) * nh**2 + 1) ** 2)
        brdf = d * smith(lz) * smith(cosine) / (4 * cosine)
        fresnel = (1 - vh) ** 5
        a, b = environment_brdf(torch.tensor([cosine], dtype=torch.float64))
        assert float(a) == pytest.approx((brdf * (1 - fresnel) * solid).sum(), abs=0.01)
        assert float(b) == pytest.approx((brdf * fresnel * solid).sum(), abs=0.01)


def test_reflectance_stays_between_zero_and_one():
    a, b = environment_brdf(torch.linspace(0, 1, 101).double())
    assert float(b.min()) > -0.01
    assert float((a + b).max()) <= 1.001


def test_wrong_shapes_are_named(scene):
    material, normals, views, light = scene
    with pytest.raises(ValueError, match=r"normals \(2, 4, 3\)"):
        shade(material, normals[:, :4], views, light)
    with pytest.raises(ValueError, match=r"ao \(2, 5\)"):
        shade(
            Material(material.diffuse, material.specular, material.ao[..., 0], material.translucency),
            normals,
            views,
            light,
        )
