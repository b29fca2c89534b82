"""The covered pixels of ``Fragments``, packed, so that shading skips the background.

Shapes: b images, v vertices, f triangles, n covered pixels in the order of the images, h w rows and columns, c
channels.
"""

from dataclasses import dataclass

import torch
from pytorch3d.renderer.mesh.rasterizer import Fragments
from torch import Tensor

from mosar.models.rasterizer.interpolation import interpolate


@dataclass(frozen=True)
class Covered:
    """Covered pixels, ordered by image, row, column. All fields but the perspective-correct barycentrics are int64."""

    image_n: Tensor
    row_n: Tensor
    column_n: Tensor
    triangle_n: Tensor
    barycentric_n3: Tensor


def covered(fragments: Fragments, faces: int) -> Covered:
    """The covered pixels; ``faces`` is the number of triangles of one mesh (of all, packed, for mixed meshes)."""
    face_bhw = fragments.pix_to_face[..., 0]
    _, height, width = face_bhw.shape
    index_n = torch.nonzero(face_bhw.flatten() >= 0)[:, 0]
    pixel_n = index_n % (height * width)
    return Covered(
        image_n=index_n // (height * width),
        row_n=pixel_n // width,
        column_n=pixel_n % width,
        triangle_n=face_bhw.flatten().index_select(0, index_n) % faces,
        barycentric_n3=fragments.bary_coords.reshape(-1, 3).index_select(0, index_n),
    )


def gather(covered: Covered, triangles_f3: Tensor, values_bvc: Tensor) -> Tensor:
    """Interpolate vertex values (B, V, C) at the covered pixels (N, C). All images share values (1, V, C)."""
    if values_bvc.ndim != 3 or triangles_f3.ndim != 2 or triangles_f3.shape[-1] != 3:
        raise ValueError(
            f"gather: got triangles {tuple(triangles_f3.shape)} and values {tuple(values_bvc.shape)}; "
            "expected (F, 3) and (B, V, C)"
        )
    batch, vertices, channels = values_bvc.shape
    corner_n3 = triangles_f3.index_select(0, covered.triangle_n)
    if batch > 1:
        corner_n3 = corner_n3 + (covered.image_n * vertices)[:, None]
    return interpolate(values_bvc.reshape(-1, channels), corner_n3, covered.barycentric_n3)


def scatter(covered: Covered, values_nc: Tensor, shape: tuple[int, int, int], background: float = 0.0) -> Tensor:
    """Write values (N, C) of the covered pixels to images (B, C, H, W), channels-last; ``shape`` is (B, H, W)."""
    batch, height, width = shape
    if len(values_nc) != len(covered.image_n):
        raise ValueError(
            f"scatter: got values {tuple(values_nc.shape)} for {len(covered.image_n)} covered pixels; expected (N, C)"
        )
    index_n = (covered.image_n * height + covered.row_n) * width + covered.column_n
    empty = values_nc.new_full((batch * height * width, values_nc.shape[-1]), background)
    return empty.index_copy(0, index_n, values_nc).view(batch, height, width, -1).permute(0, 3, 1, 2)
