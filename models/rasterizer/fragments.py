"""Rasterises vertices with cameras to pytorch3d's ``Fragments``, differentiable in both.

Shapes: b images, v vertices, f triangles, p packed vertices, h w rows and columns.
"""

import numpy as np
import torch
from pytorch3d.renderer.mesh.rasterizer import Fragments
from torch import Tensor

from mosar.models.camera import Camera, to_camera
from mosar.models.precision import full_precision
from mosar.models.rasterizer.barycentric import barycentric
from mosar.models.rasterizer.layout import Layout
from mosar.models.rasterizer.visibility import visible


@full_precision
def rasterize(
    vertices_bv3: Tensor, triangles_f3: Tensor, camera: Camera, size: tuple[int, int], cull_backfaces: bool = True
) -> Fragments:
    """Draw meshes of one topology, one per image.

    A pixel sees the nearest triangle that contains its centre (integers + 0.5, origin top left) at a depth of at least
    1 mm. Back faces are not drawn by default. Triangles without area are never seen.

    Args:
        vertices_bv3: head frame, mm.
        triangles_f3: int64; counter-clockwise seen from outside.
        camera: B cameras.
        size: height and width of the images; any aspect ratio.
        cull_backfaces: False draws both sides.

    Returns:
        ``Fragments`` with one face per pixel. ``pix_to_face`` (B, H, W, 1) is ``image * F + triangle``; ``bary_coords``
        (B, H, W, 1, 3) are perspective-correct and lie in [0, 1]; ``zbuf`` (B, H, W, 1) is the depth in mm. All are -1
        at empty pixels. ``dists`` is None. ``bary_coords`` and ``zbuf`` have gradients for vertices and camera. These
        are the gradients inside a pixel's own triangle; they do not move outlines.

    Raises:
        ValueError: shapes do not match, a mesh is empty, indices are out of range or values are not finite.
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
            "expected the same B"
        )
    _check_indices(triangles_f3, count)
    layout = Layout(
        (triangles_f3,) * batch,
        tuple(count * image for image in range(batch)),
        tuple(len(triangles_f3) * image for image in range(batch)),
    )
    return _fragments(to_camera(camera, vertices_bv3).reshape(-1, 3), layout, camera, size, cull_backfaces)


def _check_indices(triangles_f3: Tensor, vertices: int) -> None:
    if triangles_f3.dtype not in (torch.int64, torch.int32) or len(triangles_f3) == 0 or vertices == 0:
        raise ValueError(
            f"rasterize: got {vertices} vertices and triangles {tuple(triangles_f3.shape)} of {triangles_f3.dtype}; "
            "expected at least one triangle of int32 or int64 indices"
        )
    lowest, highest = (int(x) for x in torch.aminmax(triangles_f3))
    if lowest < 0 or highest >= vertices:
        raise ValueError(
            f"rasterize: got triangles {tuple(triangles_f3.shape)} with indices {lowest} to {highest}; "
            f"expected 0 to {vertices - 1}, because there are {vertices} vertices"
        )


def _finite(value: Tensor) -> bool:
    # The arrays are small: a single numpy thread is faster than waking torch's threads.
    return bool(torch.isfinite(value).all()) if value.is_cuda else bool(np.isfinite(value.numpy()).all())


def _fragments(points_p3: Tensor, layout: Layout, camera: Camera, size: tuple[int, int], cull: bool) -> Fragments:
    if min(size) < 1:
        raise ValueError(f"rasterize: got size {size}; expected a height and a width of at least 1")
    for name, value in (("vertices", points_p3), ("intrinsics", camera.intrinsics_b33)):
        if not _finite(value.detach()):
            raise ValueError(
                f"rasterize: got {name} {tuple(value.shape)} that are not finite in the camera frame; "
                "expected finite vertices and cameras"
            )
    seen_bhw = visible(points_p3, layout, camera.intrinsics_b33, size, cull)
    weights_bhw3, depth_bhw = barycentric(points_p3, torch.linalg.inv(camera.intrinsics_b33), layout, seen_bhw)
    return Fragments(
        pix_to_face=seen_bhw[..., None], zbuf=depth_bhw[..., None], bary_coords=weights_bhw3[..., None, :], dists=None
    )
