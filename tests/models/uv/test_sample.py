import pytest
import torch

from mosar.models.camera import Camera
from mosar.models.rasterizer import covered, gather, rasterize
from mosar.models.uv import footprint, sample


def seen(head, camera, size):
    """Covered pixels, their chart coordinates and footprints."""
    vertices = torch.tensor(head.template_v3, dtype=torch.float64).repeat(len(camera), 1, 1)
    triangles, uv_triangles = torch.tensor(head.triangles_f3), torch.tensor(head.uv_triangles_f3)
    uv = torch.tensor(head.uv_w2, dtype=torch.float64)
    pixels = covered(rasterize(vertices, triangles, camera, size), len(triangles))
    return (
        pixels,
        gather(pixels, uv_triangles, uv[None]),
        footprint(pixels, triangles, vertices, uv_triangles, uv, camera),
    )


def scaled(camera, factor):
    k = camera.intrinsics_b33.clone()
    k[:, :2] *= factor
    return Camera(k, camera.rotation_b33, camera.translation_b3)


def test_texel_centres():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    uv = torch.tensor([[[0.125, 5 / 6], [0.875, 0.5], [0.375, 1 / 6]]])
    torch.testing.assert_close(sample(maps, uv), torch.tensor([[[0.0], [7.0], [9.0]]]))
    torch.testing.assert_close(sample(maps, uv[0]), torch.tensor([[0.0], [7.0], [9.0]]))


def test_packed_points_are_the_same():
    generator = torch.Generator().manual_seed(0)
    maps, uv = torch.rand(3, 2, 8, 8, generator=generator), torch.rand(3, 5, 2, generator=generator)
    around = 0.3 * torch.randn(3, 5, 2, 2, generator=generator)
    image = torch.arange(3).repeat_interleave(5)
    torch.testing.assert_close(sample(maps, uv.view(-1, 2), None, image), sample(maps, uv).view(-1, 2))
    packed = sample(maps, uv.view(-1, 2), around.view(-1, 2, 2), image)
    torch.testing.assert_close(packed, sample(maps, uv, around).view(-1, 2))


def test_footprints_are_the_differences(dome, front):
    # With a camera eight times finer, neighbouring pixels of one triangle differ by an eighth of the footprint.
    fine = scaled(front, 8)
    pixels, uv, change = seen(dome, fine, (1024, 1280))
    follows = (pixels.triangle_n[1:] == pixels.triangle_n[:-1]) & (pixels.column_n[1:] == pixels.column_n[:-1] + 1)
    follows &= pixels.row_n[1:] == pixels.row_n[:-1]
    middle = (change[1:, :, 0] + change[:-1, :, 0]) / 2
    torch.testing.assert_close((uv[1:] - uv[:-1])[follows], middle[follows], atol=1e-9, rtol=1e-4)


def test_large_maps_do_not_alias(dome, front):
    # A fine checkerboard seen from afar is grey, also at oblique parts; bilinear samples of it are noise.
    size, far = (64, 80), scaled(front, 0.5)
    row, column = torch.meshgrid(torch.arange(1024), torch.arange(1024), indexing="ij")
    board = (((row // 4 + column // 4) % 2).double())[None, None]
    _, uv, change = seen(dome, far, size)
    assert float((sample(board, uv) - 0.5).abs().mean()) > 0.3
    assert float((sample(board, uv, change) - 0.5).abs().max()) < 0.12


def test_filtering_equals_supersampling(dome, front):
    generator = torch.Generator().manual_seed(0)
    noise = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 518, 518, generator=generator, dtype=torch.float64), 7, 1)
    size, far, many = (64, 80), scaled(front, 0.5), 16
    pixels, uv, change = seen(dome, far, size)
    fine, fine_uv, _ = seen(dome, scaled(front, 0.5 * many), (size[0] * many, size[1] * many))
    total = torch.zeros(2, size[0] * many, size[1] * many).double()
    weight = torch.zeros_like(total)
    at = fine.image_n, fine.row_n, fine.column_n
    total[at], weight[at] = sample(noise, fine_uv)[:, 0], 1.0
    mean, whole = (torch.nn.functional.avg_pool2d(x[:, None], many)[:, 0] for x in (total, weight))
    here = pixels.image_n, pixels.row_n, pixels.column_n
    inside = whole[here] > 0.999
    error = lambda values: float((values[:, 0] - mean[here])[inside].square().mean().sqrt())  # noqa: E731
    assert error(sample(noise, uv, change)) < 0.5 * error(sample(noise, uv))


def test_small_footprints_change_nothing(dome, front):
    maps = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    _, uv, change = seen(dome, front, (128, 160))
    torch.testing.assert_close(sample(maps, uv, change * 1e-3), sample(maps, uv), atol=1e-3, rtol=0)


def test_gradients():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 1, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
    uv = (0.1 + 0.8 * torch.rand(2, 3, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    around = 0.3 * torch.randn(2, 3, 2, 2, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(sample, (maps, uv))
    assert torch.autograd.gradcheck(lambda m, at: sample(m, at, around), (maps, uv))


def test_wrong_shapes_are_named():
    maps = torch.zeros(2, 3, 8, 8)
    for match, call in [
        (r"\(2, 3\) and uv", lambda: sample(maps[:, :, 0, 0], torch.zeros(2, 4, 2))),
        (r"\(3, 4, 2\)", lambda: sample(maps, torch.zeros(3, 4, 2))),
        (r"footprint \(2, 4, 2\)", lambda: sample(maps, torch.zeros(2, 4, 2), torch.zeros(2, 4, 2))),
        ("image_n", lambda: sample(maps, torch.zeros(4, 2))),
    ]:
        with pytest.raises(ValueError, match=match):
            call()
