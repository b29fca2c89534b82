"""The point of the head at each texel: the skin's chart, rasterised once.

UV: u is right, v is up; row 0 of a map is at v = 1; texel centres are at half-integers.
Shapes: b batch, v vertices, w chart vertices, f triangles, h w rows and columns, c channels.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosar.models.camera import Camera
from mosar.models.rasterizer import rasterize

if TYPE_CHECKING:
    from mosar.models.head import Head


@dataclass(frozen=True, eq=False)
class Chart:
    """Triangle of each texel (H, W), int64, -1 outside the chart; barycentrics (H, W, 3), float32, 0 outside."""

    triangle_hw: Tensor
    barycentric_hw3: Tensor

    def to(self, device: torch.device | str) -> "Chart":
        return Chart(self.triangle_hw.to(device), self.barycentric_hw3.to(device))


def chart(head: "Head", size: int) -> Chart:
    """The skin's chart on ``size`` x ``size`` texels, on the CPU; computed once for each head and size."""
    if size < 1:
        raise ValueError(f"chart: got size {size}; expected at least 1")
    return _chart(head, size)


@lru_cache(maxsize=16)
def _chart(head: "Head", size: int) -> Chart:
    return chart_of(head, size, head.material_f == 0)


def chart_of(head: "Head", size: int, chosen_f: NDArray[np.bool_]) -> Chart:
    """The chart of some triangles (F bool), on the CPU; where they overlap in it, one of them."""
    chosen_s = torch.tensor(np.flatnonzero(chosen_f))
    uv_w2 = torch.tensor(head.uv_w2, dtype=torch.float64)
    # The chart lies in a plane that a camera sees with u to the right and v up.
    depth = 2.0
    plane_1w3 = torch.cat([uv_w2, torch.zeros(len(uv_w2), 1)], -1)[None]
    flat = Camera(
        torch.tensor([[[size * depth, 0.0, 0.0], [0.0, size * depth, size], [0.0, 0.0, 1.0]]], dtype=torch.float64),
        torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))[None],
        torch.tensor([[0.0, 0.0, depth]], dtype=torch.float64),
    )
    fragments = rasterize(plane_1w3, torch.tensor(head.uv_triangles_f3)[chosen_s], flat, (size, size))
    seen_hw = fragments.pix_to_face[0, ..., 0]
    return Chart(
        triangle_hw=torch.where(seen_hw >= 0, chosen_s[seen_hw.clamp_min(0)], -1),
        barycentric_hw3=fragments.bary_coords[0, :, :, 0].clamp_min(0).float(),
    )


def texels_of(head: "Head", member_v: NDArray[np.bool_], size: int) -> Tensor:
    """Texels (size, size), bool, whose triangle has only vertices of ``member_v`` (V bool); on the CPU."""
    triangle_hw = chart(head, size).triangle_hw
    member_f = torch.from_numpy(member_v[head.triangles_f3].all(axis=1))
    return (triangle_hw >= 0) & member_f[triangle_hw.clamp_min(0)]


def interpolate(chart: Chart, triangles_f3: Tensor, values_bvc: Tensor) -> Tensor:
    """Interpolate vertex values (B, V, C) at the texels (B, C, H, W); 0 outside the chart."""
    if values_bvc.ndim != 3 or triangles_f3.ndim != 2 or triangles_f3.shape[-1] != 3:
        raise ValueError(
            f"interpolate: got triangles {tuple(triangles_f3.shape)} and values {tuple(values_bvc.shape)}; "
            "expected (F, 3) and (B, V, C)"
        )
    corner_n3 = triangles_f3.index_select(0, chart.triangle_hw.flatten().clamp_min(0))
    weight_n3 = chart.barycentric_hw3.reshape(-1, 3).to(values_bvc.dtype)
    out_bnc = sum(values_bvc.index_select(1, corner_n3[:, corner]) * weight_n3[:, corner, None] for corner in range(3))
    assert isinstance(out_bnc, Tensor)
    return out_bnc.mT.unflatten(-1, chart.triangle_hw.shape)
