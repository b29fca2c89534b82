import pytest
import torch
import trimesh

from mosar.models.camera import Camera
from mosar.models.rasterizer import covered, edge_gradients, gather, rasterize, scatter

SIZE = (48, 56)


def flat_picture(vertices, triangles, colours_v3, camera, size):
    """A picture of vertex colours over a background of 0.2, and its fragments."""
    fragments = rasterize(vertices, triangles, camera, size)
    pixels = covered(fragments, len(triangles))
    values = gather(pixels, triangles, colours_v3[None])
    return scatter(pixels, values, (len(vertices), *size), background=0.2), fragments


def finer(camera, factor):
    k = camera.intrinsics_b33.clone()
    k[:, :2] *= factor
    return Camera(k, camera.rotation_b33, camera.translation_b3)


@pytest.fixture
def two_triangles():
    """A triangle in front of a larger one."""
    vertices = torch.tensor(
        [[-60.0, -50, 80], [55, -40, 80], [10, 62, 80], [-90, -75, -50], [95, -60, -50], [-20, 90, -50]],
        dtype=torch.float64,
    )
    colours = torch.tensor([[0.9, 0.5, 0.1]] * 3 + [[0.3, 0.8, 0.6]] * 3, dtype=torch.float64)
    return vertices[None], torch.tensor([[0, 1, 2], [3, 4, 5]]), colours


def test_the_picture_stays_as_it_is(two_triangles, make_camera):
    vertices, triangles, colours = two_triangles
    picture, fragments = flat_picture(vertices, triangles, colours, make_camera(size=SIZE), SIZE)
    torch.testing.assert_close(edge_gradients(picture, fragments, vertices, triangles, make_camera(size=SIZE)), picture)


def test_gradients_of_a_moving_triangle_are_the_finite_differences(two_triangles, make_camera):
    # The loss weights the picture smoothly; a picture with 10 x 10 samples per pixel gives its reference value.
    vertices, triangles, colours = two_triangles
    camera = make_camera(size=SIZE)
    factor = 10

    def loss(points, fine):
        size = (SIZE[0] * fine, SIZE[1] * fine)
        row, column = torch.meshgrid(*(torch.arange(n).double() / fine for n in size), indexing="ij")
        weight = torch.sin(column / 9) + torch.cos(row / 7 + column / 13)
        lens = finer(camera, fine)
        picture, fragments = flat_picture(points, triangles, colours, lens, size)
        return (edge_gradients(picture, fragments, points, triangles, lens) * weight).sum() / fine**2

    moved = vertices.clone().requires_grad_()
    loss(moved, 4).backward()
    expected = torch.zeros(6, 2).double()
    for corner in range(6):
        for axis in range(2):
            step = torch.zeros_like(vertices)
            step[0, corner, axis] = 2.0
            expected[corner, axis] = (loss(vertices + step, factor) - loss(vertices - step, factor)) / 4
    assert float((moved.grad[0, :, :2] - expected).abs().max() / expected.abs().max()) < 0.05


def test_a_closed_surface_has_edges_only_at_its_outline(sphere, make_camera):
    # Colours differ between pixels, but the sphere has no inner edges; the background has a single colour.
    vertices, triangles = sphere
    camera = make_camera(size=SIZE)
    moved = vertices[None].clone().requires_grad_()
    picture, fragments = flat_picture(moved.detach(), triangles, torch.rand(len(vertices), 3).double(), camera, SIZE)
    edge_gradients(picture, fragments, moved, triangles, camera).square().sum().backward()
    with torch.no_grad():
        seen = moved.grad[0].abs().sum(-1) > 0
        towards = torch.nn.functional.normalize(vertices, dim=-1)[:, 2]
    assert bool(seen.any())
    assert float(towards[seen].max()) < 0.55  # near the outline, which is at 0.2
    assert float(towards[seen].min()) > -0.1


def test_a_displaced_sphere_is_found_from_its_picture(make_camera):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=100.0)
    vertices, triangles = torch.tensor(mesh.vertices), torch.tensor(mesh.faces)
    camera, white = make_camera(size=SIZE), torch.ones(len(mesh.vertices), 3).double()
    truth = torch.tensor([14.0, -9.0, 40.0]).double()
    target, _ = flat_picture(vertices[None] + truth, triangles, white, camera, SIZE)
    place = torch.zeros(3).double().requires_grad_()
    optimiser = torch.optim.Adam([place], lr=2.0)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.98)
    for _ in range(150):
        points = vertices[None] + place
        picture, fragments = flat_picture(points, triangles, white, camera, SIZE)
        optimiser.zero_grad()
        (edge_gradients(picture, fragments, points, triangles, camera) - target).square().mean().backward()
        optimiser.step()
        schedule.step()
    error = (place.detach() - truth).abs()
    assert float(error[:2].max()) < 1.5  # a pixel is 3 mm
    assert float(error[2]) < 8  # a depth change of 8 mm changes the radius by half a pixel


def test_wrong_shapes_are_named(two_triangles, make_camera):
    vertices, triangles, colours = two_triangles
    picture, fragments = flat_picture(vertices, triangles, colours, make_camera(size=SIZE), SIZE)
    with pytest.raises(ValueError, match=r"\(1, 3, 47, 56\).*\(1, 48, 56, 1\)"):
        edge_gradients(picture[:, :, 1:], fragments, vertices, triangles, make_camera(size=SIZE))
