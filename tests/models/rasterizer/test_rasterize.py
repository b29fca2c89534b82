import functools

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch3d.renderer import MeshRasterizer, RasterizationSettings
from pytorch3d.structures import Meshes

from mosar.models.camera import Camera, pytorch3d_cameras, to_camera
from mosar.models.rasterizer import (
    barycentric,
    covered,
    gather,
    interpolation,
    rasterize,
    scatter,
    visibility,
)
from mosar.models.rasterizer.layout import Layout
from mosar.models.rasterizer.pairwise import visible_pairwise


def cast(vertices, triangles, camera, size):
    """Brute force: intersect every pixel's ray with every front face (Moeller-Trumbore), from a depth of 1 mm on."""
    points = to_camera(camera, vertices[None])[0].numpy()[triangles.numpy()]
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    rays = (
        np.stack([columns, rows, np.ones(size)], -1).reshape(-1, 3) @ np.linalg.inv(camera.intrinsics_b33[0].numpy()).T
    )
    a, e1, e2 = points[:, 0], points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    normal = np.cross(e1, e2)
    along = rays @ normal.T
    with np.errstate(all="ignore"):
        t = (a * normal).sum(-1) / along
        offset = t[..., None] * rays[:, None] - a
        area = (normal**2).sum(-1)
        u = (np.cross(offset, e2) * normal).sum(-1) / area
        v = (np.cross(e1[None], offset) * normal).sum(-1) / area
        hit = (along < 0) & (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 1)
    t = np.where(hit, t, np.inf)
    face = np.where(hit.any(1), t.argmin(1), -1)
    picked = np.arange(len(face)), face
    weights = np.stack([1 - u[picked] - v[picked], u[picked], v[picked]], -1)
    return face.reshape(size), np.where(face[:, None] >= 0, weights, -1).reshape(*size, 3)


@pytest.mark.parametrize("size", [(64, 64), (40, 90), (90, 33)])
@pytest.mark.parametrize("distance", [500.0, 180.0, 103.0, 0.0])
def test_equals_brute_force(sphere, make_camera, size, distance):
    # At 180 mm the outline leaves the picture. At 0 mm the camera is inside the sphere, whose back faces are not drawn.
    vertices, triangles = sphere
    camera = make_camera(1, size, distance=distance)
    fragments = rasterize(vertices[None], triangles, camera, size)
    face, weights = cast(vertices, triangles, camera, size)
    assert (fragments.pix_to_face[0, ..., 0].numpy() != face).sum() <= 2  # ties
    same = torch.from_numpy(fragments.pix_to_face[0, ..., 0].numpy() == face)
    torch.testing.assert_close(fragments.bary_coords[0, :, :, 0][same], torch.from_numpy(weights)[same])
    if distance == 0:
        assert (face == -1).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_equals_brute_force_on_random_triangles(seed):
    brute_force(seed)


def brute_force(seed):
    # Random triangles around the camera: they cross its plane, lie behind it or are larger than the picture.
    generator = torch.Generator().manual_seed(seed)
    size = (17, 23)
    corners = torch.randn(12, 3, 3, generator=generator, dtype=torch.float64) * 60
    camera = Camera(
        torch.tensor([[[20.0, 1.0, 11.0], [0, 18.0, 8.0], [0, 0, 1]]], dtype=torch.float64),
        torch.eye(3, dtype=torch.float64)[None],
        torch.tensor([[0, 0, 20.0]], dtype=torch.float64),
    )
    vertices, triangles = corners.view(-1, 3), torch.arange(36).view(-1, 3)
    face, weights = cast(vertices, triangles, camera, size)
    fragments = rasterize(vertices[None], triangles, camera, size)
    np.testing.assert_array_equal(fragments.pix_to_face[0, ..., 0].numpy(), face)
    torch.testing.assert_close(fragments.bary_coords[0, :, :, 0], torch.from_numpy(weights), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_equals_pytorch3d(sphere, make_camera, size):
    vertices, triangles = (sphere[0]).float(), sphere[1]
    camera = make_camera(3, size, dtype=torch.float32)
    ours = rasterize(vertices.repeat(3, 1, 1), triangles, camera, size)
    rasterizer = MeshRasterizer(
        pytorch3d_cameras(camera, *size),
        RasterizationSettings(image_size=size, perspective_correct=True, cull_backfaces=True),
    )
    theirs = rasterizer(Meshes([vertices] * 3, [triangles] * 3))
    same = ours.pix_to_face == theirs.pix_to_face
    assert (~same).sum() <= 2
    torch.testing.assert_close(ours.bary_coords[same], theirs.bary_coords[same], atol=2e-3, rtol=0)
    torch.testing.assert_close(ours.zbuf[same], theirs.zbuf[same], atol=5e-3, rtol=1e-5)


def pairwise(monkeypatch):
    """Rasterise as on a GPU."""
    monkeypatch.setattr(visibility, "_visible_cpu", functools.partial(visible_pairwise, near=visibility.NEAR))


@pytest.mark.parametrize("pairs", [1 << 23, 5000])
def test_torch_sees_what_the_compiled_kernel_sees(head, make_camera, monkeypatch, pairs):
    monkeypatch.setattr("mosar.models.rasterizer.pairwise._PAIRS", pairs)
    vertices, triangles = torch.tensor(head.template_v3)[None].repeat(2, 1, 1), torch.tensor(head.triangles_f3)
    camera = make_camera(2, (96, 128), distance=600.0, dtype=torch.float32)
    for cull in (True, False):
        points = to_camera(camera, vertices).reshape(-1, 3)
        meshes = Layout((triangles, triangles), (0, len(vertices[0])), (0, len(triangles)))
        arguments = (points, meshes, camera.intrinsics_b33, (96, 128), cull)
        seen = visible_pairwise(*arguments, visibility.NEAR)
        assert (seen >= 0).float().mean() > 0.1
        assert (visibility._visible_cpu(*arguments) != seen).sum() <= 1  # the inverse of K may round differently


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_torch_equals_brute_force_on_random_triangles(seed):
    with pytest.MonkeyPatch.context() as patch:
        pairwise(patch)
        brute_force(seed)


def test_a_pixel_centre_is_at_a_half():
    vertices = torch.tensor([[[0.4, 0.4, 1.0], [0.4, 0.6, 1.0], [0.6, 0.4, 1.0]]]) * 10
    k = torch.tensor([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]])
    camera = Camera(k, torch.eye(3)[None], torch.zeros(1, 3))
    seen = rasterize(vertices * torch.tensor([10.0, 10, 1]), torch.tensor([[0, 1, 2]]), camera, (6, 6)).pix_to_face
    assert torch.nonzero(seen[0, ..., 0] == 0).tolist() == [[4, 4], [4, 5], [5, 4]]


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_shared_edges_leave_no_gap(device, monkeypatch):
    if device == "gpu":
        pairwise(monkeypatch)
    # The lines of the grid pass through pixel centres, at depths that round differently.
    generator = torch.Generator().manual_seed(0)
    n = 9
    x, y = torch.meshgrid(torch.arange(n) * 2 + 0.5, torch.arange(n) * 2 + 0.5, indexing="xy")
    depth = 50 + 20 * torch.rand(n, n, generator=generator)
    vertices = torch.stack([x * depth, y * depth, depth], -1).view(1, -1, 3).float()
    mesh = [(r * n + c, (r + 1) * n + c, r * n + c + 1) for r in range(n - 1) for c in range(n - 1)]
    mesh += [(r * n + c + 1, (r + 1) * n + c, (r + 1) * n + c + 1) for r in range(n - 1) for c in range(n - 1)]
    camera = Camera(torch.eye(3)[None], torch.eye(3)[None], torch.zeros(1, 3))
    seen = rasterize(vertices, torch.tensor(mesh), camera, (17, 17)).pix_to_face
    assert bool((seen[0, 1:-1, 1:-1] >= 0).all())


def test_the_number_of_threads_changes_nothing(sphere, make_camera):
    vertices, triangles = sphere
    before = torch.get_num_threads()
    pictures = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        pictures.append(rasterize(vertices.repeat(2, 1, 1), triangles, make_camera(2), (64, 64)))
    torch.set_num_threads(before)
    assert all(torch.equal(p.pix_to_face, pictures[0].pix_to_face) for p in pictures)
    assert all(torch.equal(p.bary_coords, pictures[0].bary_coords) for p in pictures)


def test_gradients(make_camera):
    mesh = trimesh.creation.icosphere(subdivisions=1, radius=100.0)
    triangles = torch.tensor(mesh.faces)
    camera = make_camera(2, (9, 11), focal=25.0)
    inputs = [
        camera.intrinsics_b33,
        camera.rotation_b33,
        camera.translation_b3,
        torch.tensor(mesh.vertices + 0.7).repeat(2, 1, 1),
    ]
    inputs = [x.clone().requires_grad_() for x in inputs]

    def picture(k, r, t, vertices):
        fragments = rasterize(vertices, triangles, Camera(torch.triu(k), r, t), (9, 11))
        return fragments.bary_coords, fragments.zbuf

    # The third row of the intrinsics is fixed, so only the other two may vary.
    k = inputs[0].detach()
    free = k[:, :2].clone().requires_grad_()
    row = k[:, 2:]
    assert torch.autograd.gradcheck(
        lambda f, *rest: picture(torch.cat([f, row], 1), *rest), [free, *inputs[1:]], eps=1e-7, fast_mode=True
    )


def test_gather_and_scatter(sphere, make_camera):
    vertices, triangles = sphere
    camera = make_camera(3, (50, 60))
    fragments = rasterize(vertices.repeat(3, 1, 1), triangles, camera, (50, 60))
    pixels = covered(fragments, len(triangles))
    points = gather(pixels, triangles, vertices.repeat(3, 1, 1) + torch.arange(3).view(3, 1, 1))
    torch.testing.assert_close(points, gather(pixels, triangles, vertices[None]) + pixels.image_n[:, None])
    image = scatter(pixels, points, (3, 50, 60), background=-5.0)
    assert image.shape == (3, 3, 50, 60)
    assert image.is_contiguous(memory_format=torch.channels_last)
    assert bool(((image == -5).all(1) == (fragments.pix_to_face[..., 0] < 0)).all())
    k = camera.intrinsics_b33
    at = points - pixels.image_n[:, None]
    seen = torch.einsum("nij,nj->ni", camera.rotation_b33[pixels.image_n], at) + camera.translation_b3[pixels.image_n]
    xy = torch.einsum("nij,nj->ni", k[pixels.image_n], seen / seen[:, 2:])[:, :2]
    torch.testing.assert_close(xy, torch.stack([pixels.column_n, pixels.row_n], -1).double() + 0.5)


def test_degenerate_triangles_are_not_seen(make_camera):
    vertices = torch.tensor([[[0.0, 0, 0], [50, 0, 0], [0, 50, 0], [100, 0, 0], [0, 0, 0]]], dtype=torch.float64)
    vertices.requires_grad_()
    triangles = torch.tensor([[0, 1, 1], [0, 1, 3], [0, 4, 2], [0, 0, 0], [0, 1, 2]])
    fragments = rasterize(vertices, triangles, make_camera(), (64, 64))
    assert set(fragments.pix_to_face.unique().tolist()) == {-1, 4}
    (fragments.bary_coords.square().sum() + fragments.zbuf.sum()).backward()
    assert bool(torch.isfinite(vertices.grad).all())


def test_slivers_have_finite_gradients(make_camera):
    for height in 10.0 ** torch.arange(-9, 2).double():
        corners = [[-200.0, 0.0, 0.0], [200, 3, 0], [0, 1.5 + float(height), 0]]
        vertices = torch.tensor([corners], requires_grad=True)
        camera = make_camera(dtype=torch.float32)
        fragments = rasterize(vertices, torch.tensor([[0, 1, 2]]), camera, (64, 64))
        assert float(fragments.bary_coords.detach().max()) <= 1 + 1e-5
        (fragments.bary_coords.square().sum() + fragments.zbuf.sum()).backward()
        assert bool(torch.isfinite(vertices.grad).all())


def test_bad_input_is_named(sphere, make_camera):
    vertices, triangles = sphere
    camera = make_camera()
    draw = lambda v=vertices[None], f=triangles, c=camera, s=(8, 8): rasterize(v, f, c, s)  # noqa: E731
    broken = vertices.clone()
    broken[5] = torch.nan
    for match, call in [
        ("not finite", lambda: draw(v=broken[None])),
        (r"\(642, 3\).*\(1280, 3\)", lambda: draw(v=vertices)),
        (r"\(1280, 2\)", lambda: draw(f=triangles[:, :2])),
        (r"\(2, 642, 3\).*\(1, 3, 3\)", lambda: draw(v=vertices.repeat(2, 1, 1))),
        ("0 to 641", lambda: draw(f=triangles + 1)),
        ("0 to 641", lambda: draw(f=triangles - 1)),
        ("at least one triangle", lambda: draw(f=triangles[:0])),
        ("at least one triangle", lambda: draw(v=vertices[None, :0], f=triangles[:0])),
        ("at least one triangle", lambda: draw(f=triangles.double())),
        ("at least 1", lambda: draw(s=(0, 8))),
        ("values", lambda: gather(covered(draw(), len(triangles)), triangles, vertices)),
        ("covered pixels", lambda: scatter(covered(draw(), len(triangles)), torch.zeros(3, 1), (1, 8, 8))),
    ]:
        with pytest.raises(ValueError, match=match):
            call()


def test_nothing_in_sight(sphere, make_camera):
    vertices, triangles = sphere
    moved = (vertices[None] + torch.tensor([1e4, 0, 0])).requires_grad_()
    fragments = rasterize(moved, triangles, make_camera(), (8, 8))
    assert bool((fragments.pix_to_face == -1).all())
    pixels = covered(fragments, len(triangles))
    scatter(pixels, gather(pixels, triangles, moved), (1, 8, 8)).sum().backward()
    assert bool((moved.grad == 0).all())


def test_kernels_equal_plain_torch(sphere, make_camera):
    vertices, triangles = sphere
    camera = make_camera(2, (30, 40))
    meshes = Layout((triangles, triangles), (0, len(vertices)), (0, len(triangles)))
    points = to_camera(camera, vertices[None]).reshape(-1, 3)
    seen = visibility.visible(points, meshes, camera.intrinsics_b33, (30, 40))
    weight = torch.rand(2, 30, 40, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for function in (barycentric.barycentric, barycentric.naive):
        inputs = [points.clone().requires_grad_(), torch.linalg.inv(camera.intrinsics_b33).requires_grad_()]
        weights, depths = function(*inputs, meshes, seen)
        ((weights * weight[..., :3]).sum() + (depths * weight[..., 3]).sum()).backward()
        results.append([weights.detach(), depths.detach(), *(x.grad for x in inputs)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow)


def test_interpolation_equals_plain_torch():
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(0, 50, (9000, 3), generator=generator)
    values = torch.randn(50, 5, generator=generator, dtype=torch.float64)
    weights = torch.rand(9000, 3, generator=generator, dtype=torch.float64)
    results = []
    for function in (interpolation.interpolate, interpolation.plain):
        inputs = [values.clone().requires_grad_(), weights.clone().requires_grad_()]
        mixed = function(inputs[0], corners, inputs[1])
        mixed.square().sum().backward()
        results.append([mixed.detach(), *(x.grad for x in inputs)])
    for fast, slow in zip(*results, strict=True):
        torch.testing.assert_close(fast, slow)
    few = [values[:4].clone().requires_grad_(), weights[:5].clone().requires_grad_()]
    assert torch.autograd.gradcheck(lambda v, w: interpolation.interpolate(v, corners[:5] % 4, w), few)
