"""From vertices and cameras to pytorch3d's ``Fragments``, differentiable in both.

Shapes: b images, v vertices, f triangles, p packed vertices, q packed triangles, n covered pixels, h w rows and
columns.
"""

from typing import TYPE_CHECKING

import torch
from pytorch3d.renderer.mesh.rasterizer import Fragments
from torch import Tensor

from mosar.models.camera import Camera, to_camera
from mosar.models.rasterizer.visibility import visible

if TYPE_CHECKING:
    from pytorch3d.structures import Meshes


def rasterize(
    vertices_bv3: Tensor, triangles_f3: Tensor, camera: Camera, size: tuple[int, int], cull_backfaces: bool = True
) -> Fragments:
    """Draw meshes of one topology, one to an image.

    A pixel sees the nearest triangle that holds its centre (integers + 0.5, origin top left) at a depth of at least
    1 mm; back faces are not drawn. Triangles without area are never seen.

    Args:
        vertices_bv3: head frame, mm.
        triangles_f3: int64; counter-clockwise seen from outside.
        camera: B cameras.
        size: height and width of the images, any ratio.
        cull_backfaces: False draws both sides.

    Returns:
        ``Fragments`` with one face a pixel: ``pix_to_face`` (B, H, W, 1) is ``image * F + triangle``; ``bary_coords``
        (B, H, W, 1, 3) are perspective-correct, lie in [0, 1] and have gradients for vertices and camera, as has
        ``zbuf`` (B, H, W, 1), the depth in mm. All are -1 where nothing is seen. ``dists`` is None. The gradients are those of
        a pixel's own triangle; outlines get theirs from :func:`mosar.models.rasterizer.edges`.

    Raises:
        ValueError: shapes that do not match, an empty mesh, indices out of range, values that are not finite.
    """
    if vertices_bv3.ndim != 3 or triangles_f3.ndim != 2 or vertices_bv3.shape[-1] != 3 or triangles_f3.shape[-1] != 3:
        raise ValueError(
            f"rasterize: got vertices {tuple(vertices_bv3.shape)} and triangles {tuple(triangles_f3.shape)}; "
            "expected (B, V, 3) and (F, 3)"
        )
    batch, count, _ = vertices_bv3.shape
    if batch != len(camera):
        raise ValueError(
            f"rasterize: got vertices {tuple(vertices_bv3.shape)} and intrinsics {tuple(camera.intrinsics_b33.shape)}; "
            "expected one B"
        )
    _check_indices(triangles_f3, count)
    offset_b11 = torch.arange(batch, device=triangles_f3.device)[:, None, None] * count
    triangles_q3 = (triangles_f3 + offset_b11).reshape(-1, 3)
    first_b = [image * len(triangles_f3) for image in range(batch + 1)]
    points_p3 = to_camera(camera, vertices_bv3).reshape(-1, 3)
    return _fragments(points_p3, triangles_q3, first_b, camera, size, cull_backfaces)


def rasterize_meshes(meshes: "Meshes", camera: Camera, size: tuple[int, int], cull_backfaces: bool = True) -> Fragments:
    """Draw meshes of any topologies, one to an image: as :func:`rasterize`, but faces are numbered packed."""
    if len(meshes) != len(camera):
        raise ValueError(f"rasterize_meshes: got {len(meshes)} meshes and {len(camera)} cameras; expected as many")
    for vertices_v3, triangles_f3 in zip(meshes.verts_list(), meshes.faces_list(), strict=True):
        _check_indices(triangles_f3, len(vertices_v3))
    points_p3 = torch.cat([to_camera(camera[i], v[None])[0] for i, v in enumerate(meshes.verts_list())])
    first_b = [0, *torch.cumsum(meshes.num_faces_per_mesh(), 0).tolist()]
    return _fragments(points_p3, meshes.faces_packed(), first_b, camera, size, cull_backfaces)


def _check_indices(triangles_f3: Tensor, vertices: int) -> None:
    if triangles_f3.dtype not in (torch.int64, torch.int32) or len(triangles_f3) == 0 or vertices == 0:
        raise ValueError(
            f"rasterize: got {vertices} vertices and triangles {tuple(triangles_f3.shape)} of {triangles_f3.dtype}; "
            "expected at least one triangle of integers"
        )
    lowest, highest = (int(x) for x in torch.aminmax(triangles_f3))
    if lowest < 0 or highest >= vertices:
        raise ValueError(
            f"rasterize: got triangles {tuple(triangles_f3.shape)} with indices {lowest} to {highest}; "
            f"expected 0 to {vertices - 1}, for there are {vertices} vertices"
        )


def _fragments(
    points_p3: Tensor, triangles_q3: Tensor, first_b: list[int], camera: Camera, size: tuple[int, int], cull: bool
) -> Fragments:
    if min(size) < 1:
        raise ValueError(f"rasterize: got size {size}; expected a height and a width of at least 1")
    for name, value in (("vertices", points_p3), ("intrinsics", camera.intrinsics_b33)):
        if not bool(torch.isfinite(value.detach()).all()):
            raise ValueError(f"rasterize: got {name} {tuple(value.shape)} that are not finite after the camera")
    seen_bhw = visible(points_p3, triangles_q3, first_b, camera.intrinsics_b33, size, cull)
    flat = seen_bhw.flatten()
    index_n = torch.nonzero(flat >= 0)[:, 0]
    pixels = size[0] * size[1]
    rays_n2 = _rays(camera.intrinsics_b33, index_n // pixels, index_n % pixels, size[1])
    corners_n3 = triangles_q3.index_select(0, flat.index_select(0, index_n))
    points_n33 = points_p3.index_select(0, corners_n3.flatten()).view(-1, 3, 3)
    barycentric_n3, depth_n = _barycentric(points_n33, rays_n2)
    empty = points_p3.new_full((len(flat), 4), -1.0)
    dense = empty.index_copy(0, index_n, torch.cat([barycentric_n3, depth_n[:, None]], -1)).view(*seen_bhw.shape, 1, 4)
    return Fragments(pix_to_face=seen_bhw[..., None], zbuf=dense[..., 3], bary_coords=dense[..., :3], dists=None)


def _rays(intrinsics_b33: Tensor, image_n: Tensor, pixel_n: Tensor, width: int) -> Tensor:
    """x and y (N, 2) of the rays with z = 1 through pixel centres."""
    inverse_b33 = torch.linalg.inv(intrinsics_b33)[:, :2]
    x_n, y_n = (pixel_n % width).to(intrinsics_b33) + 0.5, (pixel_n // width).to(intrinsics_b33) + 0.5
    centre_n3 = torch.stack([x_n, y_n, torch.ones_like(x_n)], -1)
    return (inverse_b33.index_select(0, image_n) @ centre_n3[..., None])[..., 0]


def _barycentric(points_n33: Tensor, rays_n2: Tensor) -> tuple[Tensor, Tensor]:
    """Perspective-correct barycentrics (N, 3) and depths (N) of rays in their triangles.

    Corners are moved along the ray into its plane z = 0, so that the differences are small and float32 serves:
    ``d . (b x c) = (b - b_z d) x (c - c_z d)`` for a ray with z = 1.
    """
    flat_n32 = points_n33[..., :2] - points_n33[..., 2:] * rays_n2[:, None]
    x_n3, y_n3 = flat_n32.unbind(-1)
    next_3, last_3 = [1, 2, 0], [2, 0, 1]
    weight_n3 = x_n3[:, next_3] * y_n3[:, last_3] - y_n3[:, next_3] * x_n3[:, last_3]
    barycentric_n3 = weight_n3 / weight_n3.sum(-1, keepdim=True)
    return barycentric_n3, (barycentric_n3 * points_n33[..., 2]).sum(-1)
