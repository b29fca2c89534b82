from importlib import import_module

import numpy as np
import pytest
import torch

from mosar.models.camera import project, transform_image, views
from mosar.models.rasterizer import covered, gather, rasterize, scatter
from mosar.models.uv import chart, density, surface, to_world, unwrap
from mosar.models.uv.unwrap import FRONTAL, GRAZING


def batch_of(head, count=1):
    return torch.tensor(head.template_v3, dtype=torch.float64).repeat(count, 1, 1)


def test_texel_centres_are_at_halves(dome):
    texels = chart(dome, 50)
    uv = torch.tensor(dome.uv_w2)[torch.tensor(dome.uv_triangles_f3)[texels.triangle_hw.clamp_min(0)]]
    uv = (uv * texels.barycentric_hw3[..., None]).sum(-2)
    row, column = torch.meshgrid(torch.arange(50) + 0.5, torch.arange(50) + 0.5, indexing="ij")
    expected = torch.stack([column / 50, 1 - row / 50], -1)  # row 0 is v = 1
    inside = texels.triangle_hw >= 0
    torch.testing.assert_close(uv[inside], expected[inside], atol=1e-6, rtol=0)
    assert torch.equal(inside, ((expected > 0.1) & (expected < 0.9)).all(-1))
    assert int(texels.triangle_hw.max()) < len(dome.triangles_f3) - 1  # skin only
    assert chart(dome, 50) is texels


def test_surface(dome):
    texels = chart(dome, 64)
    points = surface(texels, dome, batch_of(dome, 2))
    inside = texels.triangle_hw >= 0
    x, y, z = points.position_b3hw[1][:, inside]
    torch.testing.assert_close(z, 40 - (x**2 + y**2) / 300, atol=0.4, rtol=0)
    frame = torch.stack([points.tangent_b3hw, points.bitangent_b3hw, points.normal_b3hw], -1)[0, :, inside].transpose(
        0, 1
    )
    torch.testing.assert_close(frame.mT @ frame, torch.eye(3).double().expand(len(frame), 3, 3))
    torch.testing.assert_close(torch.linalg.det(frame), torch.ones(len(frame)).double())
    slope = torch.nn.functional.normalize(torch.stack([x / 150, y / 150, torch.ones_like(x)]), dim=0)
    assert float((points.normal_b3hw[0][:, inside] * slope).sum(0).min()) > 0.995
    along = torch.nn.functional.normalize(torch.stack([torch.ones_like(x), 0 * x, -x / 150]), dim=0)
    assert float((points.tangent_b3hw[0][:, inside] * along).sum(0).min()) > 0.99
    assert bool((points.normal_b3hw[:, :, ~inside] == 0).all())


def test_flat_tangent_normals_are_the_surface_normals(dome):
    points = surface(chart(dome, 32), dome, batch_of(dome))
    flat = torch.zeros(1, 3, 32, 32).double()
    flat[:, 2] = 1
    torch.testing.assert_close(to_world(points, flat), points.normal_b3hw)
    tilted = torch.zeros(1, 3, 32, 32).double()
    tilted[:, 0] = 2
    torch.testing.assert_close(to_world(points, tilted), points.tangent_b3hw)


def test_gradients(dome):
    vertices = batch_of(dome).requires_grad_()
    texels = chart(dome, 3)

    def values(v):
        points = surface(texels, dome, v)
        return points.position_b3hw, points.normal_b3hw, points.tangent_b3hw, points.bitangent_b3hw

    assert torch.autograd.gradcheck(values, (vertices,), fast_mode=True)


def painted(head, vertices, camera, size):
    """A picture whose colours are u and v of the chart, and one."""
    triangles = torch.tensor(head.triangles_f3)
    pixels = covered(rasterize(vertices, triangles, camera, size), len(triangles))
    values = torch.cat([torch.tensor(head.uv_w2), torch.ones(len(head.uv_w2), 1)], -1).double()[None]
    return scatter(pixels, gather(pixels, triangles, values), (len(vertices), *size))


def test_unwrap_undoes_painting(dome, front):
    vertices = batch_of(dome, 2)
    image = painted(dome, vertices, front, (128, 160))
    texture, seen = unwrap(image, dome, vertices, front, 64)
    texels = chart(dome, 64)
    assert float((seen > 0)[:, 0, texels.triangle_hw >= 0].double().mean()) > 0.85
    assert not bool((seen > 0)[:, 0, texels.triangle_hw < 0].any())
    row, column = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    expected = torch.stack([column / 64, 1 - row / 64]).double()
    inner = (seen > 0) & (image.new_tensor(1.0) - texture[:, 2:]).abs().lt(1e-3)
    assert float(inner.double().sum() / (seen > 0).sum()) > 0.8
    error = (texture[:, :2] - expected).abs() * inner
    assert float(error.max()) < 8e-3
    assert bool((texture[(seen == 0).expand_as(texture)] == 0).all())


def test_unwrap_in_bands_is_the_same(dome, front, monkeypatch):
    vertices, image = batch_of(dome, 2), torch.rand(2, 3, 128, 160).double()
    whole = unwrap(image, dome, vertices, front, 64)
    monkeypatch.setattr(import_module("mosar.models.uv.unwrap"), "_BAND", 7 * 64)
    for one, other in zip(whole, unwrap(image, dome, vertices, front, 64), strict=True):
        torch.testing.assert_close(one, other)


def test_unwrap_of_a_fine_photograph_takes_means(dome, front):
    """Stripes finer than a texel become grey instead of aliasing; a coarse photograph has no blocks."""
    vertices = batch_of(dome, 2)
    stripes = torch.zeros(2, 1, 128, 160).double()
    stripes[..., ::2] = 1
    texture, seen = unwrap(stripes, dome, vertices, front, 12)
    assert float((texture - 0.5).abs()[seen > 0.9].max()) < 0.2
    ramp = torch.linspace(0, 1, 160).double().expand(2, 1, 128, 160)
    texture, seen = unwrap(ramp, dome, vertices, front, 256)
    inner = ((seen > 0.9) & (seen.roll(1, -1) > 0.9) & (seen.roll(-1, -1) > 0.9))[0, 0]
    bend = (texture.roll(1, -1) + texture.roll(-1, -1) - 2 * texture)[0, 0][inner].abs()
    assert float(bend.max()) < 0.3 * float((texture - texture.roll(1, -1))[0, 0][inner].abs().mean())


def test_unwrap_excludes_hidden_texels(dome, front):
    # A second, small sheet in front of the first hides a part of it.
    vertices = batch_of(dome, 2)
    vertices[:, -3:] = torch.tensor([[-30.0, -30, 120], [30, -30, 120], [0, 40, 120]])
    _, seen = unwrap(torch.ones(2, 3, 128, 160).double(), dome, vertices, front, 64)
    middle = project(front, surface(chart(dome, 64), dome, vertices).position_b3hw.flatten(2).mT)
    corner = project(front, vertices[:, -3:])
    for image in range(2):
        a, b, c = corner[image]
        cross = lambda p, q, r: (q[0] - p[0]) * (r[..., 1] - p[1]) - (q[1] - p[1]) * (r[..., 0] - p[0])  # noqa: E731
        at = middle[image]
        hidden = (torch.stack([cross(a, b, at), cross(b, c, at), cross(c, a, at)]) < -150).all(0).view(64, 64)
        assert int(hidden.sum()) > 5
        assert not bool((seen[image, 0][hidden] > 0).any())


def test_grazing_texels_are_not_seen(dome, front):
    vertices = batch_of(dome, 2)
    _, seen = unwrap(torch.ones(2, 1, 128, 160).double(), dome, vertices, front, 64)
    points = surface(chart(dome, 64), dome, vertices)
    facing = (
        (points.normal_b3hw.flatten(2).mT * views(front, points.position_b3hw.flatten(2).mT)).sum(-1).view(2, 64, 64)
    )
    assert bool((seen[:, 0][facing < GRAZING] == 0).all())
    assert bool((seen[:, 0] <= ((facing - GRAZING) / (FRONTAL - GRAZING)).clamp(0, 1) + 0.25).all())


def test_density_tells_how_many_pixels_a_texel_has(dome, front):
    vertices = batch_of(dome, 2)
    once = density(dome, vertices[:1], front[0], 64)
    # The dome is 200 mm wide at 560 to 600 mm: 0.52 px/mm, and a texel of its chart is 250/64 mm wide.
    assert once == pytest.approx(300 / 570 * 250 / 64, rel=0.1)
    twice = transform_image(front[0], torch.diag(torch.tensor([2.0, 2.0, 1.0])).double())
    assert density(dome, vertices[:1], twice, 64) == pytest.approx(2 * once)


def test_wrong_shapes_are_named(dome, front):
    vertices = batch_of(dome, 2)
    points = surface(chart(dome, 8), dome, vertices)
    for match, call in [
        ("at least 1", lambda: chart(dome, 0)),
        (r"\(2, 443, 3\)", lambda: surface(chart(dome, 8), dome, vertices[:, 1:])),
        (r"\(2, 3, 9, 9\)", lambda: to_world(points, torch.zeros(2, 3, 9, 9))),
        (r"\(1, 3, 8, 8\)", lambda: unwrap(torch.zeros(1, 3, 8, 8), dome, vertices, front, 8)),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
    assert np.isfinite(points.position_b3hw.numpy()).all()
