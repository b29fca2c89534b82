import numpy as np
import pytest
import torch

from mosar.models.camera import project
from mosar.models.rasterizer import covered, gather, rasterize, scatter
from mosar.models.uv import chart, surface, to_world, unwrap


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
    texture, known = unwrap(image, dome, vertices, front, 64)
    texels = chart(dome, 64)
    assert float(known[:, 0, texels.triangle_hw >= 0].double().mean()) > 0.9
    assert not bool(known[:, 0, texels.triangle_hw < 0].any())
    row, column = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    expected = torch.stack([column / 64, 1 - row / 64]).double()
    inner = known & (image.new_tensor(1.0) - texture[:, 2:]).abs().lt(1e-6)
    assert float(inner.double().sum() / known.sum()) > 0.95
    error = (texture[:, :2] - expected).abs() * inner
    assert float(error.max()) < 5e-3
    assert bool((texture[~known.expand_as(texture)] == 0).all())


def test_unwrap_excludes_hidden_texels(dome, front):
    # A second, small sheet in front of the first hides a part of it.
    vertices = batch_of(dome, 2)
    vertices[:, -3:] = torch.tensor([[-30.0, -30, 120], [30, -30, 120], [0, 40, 120]])
    _, known = unwrap(torch.ones(2, 3, 128, 160).double(), dome, vertices, front, 64)
    middle = project(front, surface(chart(dome, 64), dome, vertices).position_b3hw.flatten(2).mT)
    corner = project(front, vertices[:, -3:])
    for image in range(2):
        a, b, c = corner[image]
        cross = lambda p, q, r: (q[0] - p[0]) * (r[..., 1] - p[1]) - (q[1] - p[1]) * (r[..., 0] - p[0])  # noqa: E731
        at = middle[image]
        hidden = (torch.stack([cross(a, b, at), cross(b, c, at), cross(c, a, at)]) < -150).all(0).view(64, 64)
        assert int(hidden.sum()) > 5
        assert not bool(known[image, 0][hidden].any())


def test_unwrap_has_gradients(dome, front):
    vertices, image = batch_of(dome, 2).requires_grad_(), torch.rand(2, 3, 128, 160).double().requires_grad_()
    unwrap(image, dome, vertices, front, 16)[0].square().sum().backward()
    for value in (vertices.grad, image.grad):
        assert bool(torch.isfinite(value).all())
        assert float(value.abs().sum()) > 0


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
