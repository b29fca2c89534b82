import pytest
import torch

from mosar.models.camera import (
    Camera,
    position,
    project,
    pytorch3d_cameras,
    to_camera,
    transform_image,
    turn_image,
    views,
)


def cameras(batch=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.matrix_exp(
        0.3 * torch.tensor([[[0.0, -1, 0.5], [1, 0, 0.2], [-0.5, -0.2, 0]]] * batch, dtype=dtype)
    )
    k = torch.eye(3, dtype=dtype).repeat(batch, 1, 1)
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2] = 500.0, 480.0, 90.0, 130.0
    shift = torch.tensor([[5.0, -8.0, 600.0]], dtype=dtype) + torch.randn(batch, 3, generator=generator).to(dtype)
    return Camera(k, torch.diag(torch.tensor([1.0, -1, -1], dtype=dtype)) @ turn, shift)


def points(batch=2, dtype=torch.float64):
    return 100 * torch.randn(batch, 20, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_an_upright_head_is_upright():
    camera = Camera(
        torch.tensor([[[500.0, 0, 50], [0, 500, 50], [0, 0, 1]]]),
        torch.diag(torch.tensor([1.0, -1, -1]))[None],
        torch.tensor([[0.0, 0, 500]]),
    )
    pixels = project(camera, torch.tensor([[[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 100]]]))[0]
    torch.testing.assert_close(pixels, torch.tensor([[50.0, 50], [60, 50], [50, 40], [50, 50]]))
    torch.testing.assert_close(position(camera), torch.tensor([[0.0, 0, 500]]))
    torch.testing.assert_close(views(camera, torch.zeros(1, 1, 3)), torch.tensor([[[0.0, 0, 1]]]))


def test_a_turned_image_shows_the_same_points():
    camera = cameras()
    camera.intrinsics_b33[:, 1, 1] = 500.0
    cos, sin = 0.6, 0.8
    affine = torch.tensor([[2 * cos, 2 * sin, 30.0], [-2 * sin, 2 * cos, -7], [0, 0, 1]], dtype=torch.float64)
    turned = turn_image(camera, affine)
    pixels = torch.nn.functional.pad(project(camera, points()), (0, 1), value=1.0)
    torch.testing.assert_close(project(turned, points()), (pixels @ affine.T)[..., :2])
    torch.testing.assert_close(turned.intrinsics_b33.triu(), turned.intrinsics_b33)
    torch.testing.assert_close(position(turned), position(camera))


def test_pytorch3d_projects_to_the_same_pixels():
    camera, at = cameras(dtype=torch.float32), points(dtype=torch.float32)
    theirs = pytorch3d_cameras(camera, 240, 180)
    pixels = theirs.transform_points_screen(at, image_size=((240, 180),))[..., :2]
    torch.testing.assert_close(pixels, project(camera, at), atol=1e-3, rtol=1e-5)
    depth = theirs.get_world_to_view_transform().transform_points(at)[..., 2]
    torch.testing.assert_close(depth, to_camera(camera, at)[..., 2])


def test_a_crop_moves_pixels():
    camera, at = cameras(), points()
    crop = torch.tensor([[0.5, 0, -7], [0, 0.5, 3], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(
        project(transform_image(camera, crop), at), 0.5 * project(camera, at) + torch.tensor([-7.0, 3]).double()
    )


def test_gradients():
    camera, at = cameras(), points()
    inputs = [camera.intrinsics_b33, camera.rotation_b33, camera.translation_b3, at]
    inputs = [x.clone().requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(lambda k, r, t, p: project(Camera(k, r, t), p), inputs)


def test_wrong_shapes_are_named():
    camera = cameras()
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(2, 3, 3\)"):
        Camera(torch.eye(3), camera.rotation_b33, camera.translation_b3)
    with pytest.raises(ValueError, match=r"\(3, 20, 3\) for 2"):
        to_camera(camera, points(3))
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        transform_image(camera, torch.eye(2))
    skewed = camera.intrinsics_b33.clone()
    skewed[:, 0, 1] = 1
    with pytest.raises(ValueError, match="skew"):
        pytorch3d_cameras(Camera(skewed, camera.rotation_b33, camera.translation_b3), 10, 10)


def test_one_camera_of_a_batch():
    camera = cameras(3)
    assert len(camera) == 3
    assert len(camera[1]) == 1
    torch.testing.assert_close(camera[1].translation_b3[0], camera.translation_b3[1])
    assert camera.to(torch.float32).rotation_b33.dtype == torch.float32
