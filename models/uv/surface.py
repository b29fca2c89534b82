"""Surface points and frames of a chart's texels, and tangent-space normals in the head frame.

Shapes: b batch, v vertices, w chart vertices, f triangles, h w rows and columns.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mosar.models.head.morph import vertex_normals
from mosar.models.precision import full_precision
from mosar.models.uv.chart import Chart, interpolate
from mosar.models.vectors import unit

if TYPE_CHECKING:
    from mosar.models.head import Head


@dataclass(frozen=True, eq=False)
class Surface:
    """Texels in the head frame (B, 3, H, W): position in mm; unit normal, tangent (+u) and bitangent (+v).

    Tangent, bitangent and normal are orthonormal and right-handed. All are 0 outside the chart.
    """

    position_b3hw: Tensor
    normal_b3hw: Tensor
    tangent_b3hw: Tensor
    bitangent_b3hw: Tensor


@full_precision
def surface(chart: Chart, head: "Head", vertices_bv3: Tensor) -> Surface:
    """The chart's surface for the given vertices (B, V, 3), mm, head frame; differentiable in them.

    Normals and tangents are area-weighted means at vertices, interpolated, so they are smooth across triangles.
    """
    if vertices_bv3.ndim != 3 or vertices_bv3.shape[1:] != head.template_v3.shape:
        raise ValueError(
            f"surface: got vertices {tuple(vertices_bv3.shape)}; expected (B, {len(head.template_v3)}, 3) of the head"
        )
    triangles_f3, uv_triangles_f3, uv_w2 = _topology(head, vertices_bv3.device)
    chart = chart.to(vertices_bv3.device)
    normal_bv3 = vertex_normals(vertices_bv3, triangles_f3)
    tangent_bw3 = _tangents(vertices_bv3, triangles_f3, uv_triangles_f3, uv_w2.to(vertices_bv3.dtype))
    normal_b3hw = unit(interpolate(chart, triangles_f3, normal_bv3))
    along_b3hw = interpolate(chart, uv_triangles_f3, tangent_bw3)
    along_b3hw = along_b3hw - (along_b3hw * normal_b3hw).sum(1, keepdim=True) * normal_b3hw
    tangent_b3hw = unit(along_b3hw)
    return Surface(
        position_b3hw=interpolate(chart, triangles_f3, vertices_bv3),
        normal_b3hw=normal_b3hw,
        tangent_b3hw=tangent_b3hw,
        bitangent_b3hw=torch.linalg.cross(normal_b3hw, tangent_b3hw, dim=1),
    )


def to_world(surface: Surface, tangent_normal_b3hw: Tensor) -> Tensor:
    """Transform tangent-space normals (B, 3, H, W), x along +u, y along +v, to unit normals of the head frame."""
    if tangent_normal_b3hw.shape[1:] != surface.normal_b3hw.shape[1:]:
        raise ValueError(
            f"to_world: got normals {tuple(tangent_normal_b3hw.shape)} for a surface "
            f"{tuple(surface.normal_b3hw.shape)}; expected the same shape"
        )
    x, y, z = tangent_normal_b3hw.split(1, 1)
    return unit(x * surface.tangent_b3hw + y * surface.bitangent_b3hw + z * surface.normal_b3hw)


def chart_tangents(head: "Head", vertices_bv3: Tensor) -> Tensor:
    """Directions along +u at chart vertices (B, W, 3), of any length, not yet perpendicular to the normals."""
    triangles_f3, uv_triangles_f3, uv_w2 = _topology(head, vertices_bv3.device)
    return _tangents(vertices_bv3, triangles_f3, uv_triangles_f3, uv_w2.to(vertices_bv3.dtype))


def _tangents(vertices_bv3: Tensor, triangles_f3: Tensor, uv_triangles_f3: Tensor, uv_w2: Tensor) -> Tensor:
    """Directions of ``dP/du`` at chart vertices (B, W, 3): sums over triangles, weighted by area in the chart."""
    corners_bf33 = vertices_bv3[:, triangles_f3]
    edge_bf23 = corners_bf33[:, :, 1:] - corners_bf33[:, :, :1]
    uv_f32 = uv_w2[uv_triangles_f3]
    edge_f22 = uv_f32[:, 1:] - uv_f32[:, :1]
    # Twice the chart area times dP/du. It is not divided by that determinant, because only the direction is needed.
    along_bf3 = edge_f22[:, 1, 1:] * edge_bf23[:, :, 0] - edge_f22[:, 0, 1:] * edge_bf23[:, :, 1]
    tangent_bw3 = vertices_bv3.new_zeros(len(vertices_bv3), len(uv_w2), 3)
    for corner in range(3):
        tangent_bw3 = tangent_bw3.index_add(1, uv_triangles_f3[:, corner], along_bf3)
    return tangent_bw3


@lru_cache(maxsize=8)
def _topology(head: "Head", device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.tensor(head.triangles_f3, device=device),
        torch.tensor(head.uv_triangles_f3, device=device),
        torch.tensor(head.uv_w2, device=device),
    )
