"""The triangle that each pixel sees, from torch operations alone: for GPUs. No gradients.

Every triangle is tested on the pixels of its bounding box, all pairs of triangle and pixel at once; a pixel keeps the
nearest of its hits. The arithmetic is that of :mod:`~mosar.models.rasterizer.visibility`, in double precision and
without fused multiply-adds, so that both find the same triangles.

pytorch3d's CUDA kernel is not used: for every pixel it walks through a list as long as the fullest bin may become,
which grows with the triangles of the whole batch. A step of ``geometry`` with it (16 heads drawn at 224 x 224 pixels)
took 0.9 s on an H200.
Shapes: p packed vertices, q packed triangles, b images, h w rows and columns, n pairs, m hits.
"""

import torch
from torch import Tensor

from mosar.models.rasterizer.layout import Layout

_PAIRS = 1 << 23
"""Approximate number of pairs that are tested at once: some 150 bytes each."""
_MARGIN = 0.01
"""Pixels by which a box is larger, for the different rounding of box and edge functions."""


def visible_pairwise(
    points_p3: Tensor, layout: Layout, intrinsics_b33: Tensor, size: tuple[int, int], cull: bool, near: float
) -> Tensor:
    """As :func:`~mosar.models.rasterizer.visibility.visible`, on any device; ``near``: smallest depth, mm."""
    height, width = size
    device, batch = points_p3.device, len(layout.triangles)
    counts = torch.tensor([len(t) for t in layout.triangles], device=device)
    image_q = torch.repeat_interleave(torch.arange(batch, device=device), counts)
    corners_q33 = points_p3.double()[layout.packed()]
    edges_q33 = torch.stack([_cross(corners_q33[:, i], corners_q33[:, j]) for i, j in ((1, 2), (2, 0), (0, 1))], dim=1)
    volume_q = _dot(corners_q33[:, 0], edges_q33[:, 0])
    k_b33 = intrinsics_b33.double()
    box_q4 = _boxes(corners_q33, k_b33[image_q], (height, width), near)
    size_q2 = (box_q4[:, 2:] - box_q4[:, :2] + 1).clamp_min(0)
    drawn_q = (volume_q < 0.0 if cull else volume_q != 0.0) & (size_q2 > 0).all(dim=1)
    kept = torch.nonzero(drawn_q)[:, 0]
    area_q = size_q2[kept].prod(dim=1)
    # The edge functions in terms of the pixel are E = K^-T e, with the sign that makes them positive inside.
    sign_q = torch.where(volume_q < 0.0, -1.0, 1.0).to(volume_q)
    inverse_q33 = torch.linalg.inv(k_b33)[image_q[kept]]
    lines_q33 = _in_pixels(edges_q33[kept], inverse_q33) * sign_q[kept, None, None]
    depth_q = (sign_q * volume_q)[kept]
    found = [
        _hits(kept[part], area_q[part], box_q4[kept[part]], lines_q33[part], depth_q[part], near)
        for part in _parts(area_q)
    ]
    if not found:
        return torch.full((batch, height, width), -1, dtype=torch.int64, device=device)
    face_m, row_m, column_m, nearness_m = (torch.cat(values) for values in zip(*found, strict=True))
    pixel_m = (image_q[face_m] * height + row_m) * width + column_m
    nearest = nearness_m.new_zeros(batch * height * width).scatter_reduce(0, pixel_m, nearness_m, "amax")
    first = nearness_m == nearest[pixel_m]
    none = len(image_q)
    seen = torch.full((batch * height * width,), none, device=device)
    seen = seen.scatter_reduce(0, pixel_m[first], face_m[first], "amin")
    return torch.where(seen == none, -1, seen).view(batch, height, width)


def _parts(area_q: Tensor) -> list[slice]:
    """Runs of triangles with about :data:`_PAIRS` pairs, at least one triangle each."""
    if not len(area_q):
        return []
    run_q = (area_q.cumsum(0) - 1) // _PAIRS
    ends = torch.unique_consecutive(run_q, return_counts=True)[1].cumsum(0).tolist()
    return [slice(first, last) for first, last in zip([0, *ends[:-1]], ends, strict=True)]


def _hits(
    face_q: Tensor, area_q: Tensor, box_q4: Tensor, lines_q33: Tensor, depth_q: Tensor, near: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pairs whose pixel lies in the triangle: face, row, column, and one over the depth, each (m,)."""
    which_n = torch.repeat_interleave(torch.arange(len(area_q), device=area_q.device), area_q)
    within_n = torch.arange(len(which_n), device=area_q.device) - (area_q.cumsum(0) - area_q)[which_n]
    row_0, column_0, _, column_1 = box_q4.unbind(dim=1)
    columns_n = (column_1 - column_0 + 1)[which_n]
    row_n = row_0[which_n] + within_n // columns_n
    column_n = column_0[which_n] + within_n % columns_n
    inside_n = torch.ones_like(row_n, dtype=torch.bool)
    total_n = torch.zeros_like(row_n, dtype=torch.float64)
    for edge in range(3):
        x_n, y_n, z_n = lines_q33[:, edge][which_n].unbind(dim=1)
        weight_n = x_n * (column_n + 0.5) + (y_n * (row_n + 0.5) + z_n)
        inside_n &= weight_n >= 0.0
        total_n = total_n + weight_n
    nearness_n = total_n / depth_q[which_n]
    hit = torch.nonzero(inside_n & (nearness_n > 0.0) & (nearness_n * near <= 1.0))[:, 0]
    return face_q[which_n[hit]], row_n[hit], column_n[hit], nearness_n[hit]


def _boxes(corners_q33: Tensor, k_q33: Tensor, size: tuple[int, int], near: float) -> Tensor:
    """First and last row and column (q, 4: row, column, row, column) of pixel centres that a triangle may cover.

    Only the part beyond the near plane counts: corners beyond it, and where edges cross it.
    """
    following_q33 = corners_q33.roll(-1, dims=1)
    depth, following = corners_q33[..., 2], following_q33[..., 2]
    crosses = (depth >= near) != (following >= near)
    t = (near - depth) / torch.where(crosses, following - depth, 1.0)
    crossing_q33 = corners_q33 + t[..., None] * (following_q33 - corners_q33)
    crossing_q33[..., 2] = near
    points_q63 = torch.cat([corners_q33, crossing_q33], dim=1)
    counts_q6 = torch.cat([depth >= near, crosses], dim=1)
    x, y, z = points_q63.unbind(dim=2)
    z = torch.where(counts_q6, z, 1.0)
    k = k_q33[:, None]
    places_q62 = torch.stack(
        [
            (k[..., 1, 1] * y) / z + k[..., 1, 2],
            (k[..., 0, 0] * x + k[..., 0, 1] * y) / z + k[..., 0, 2],
        ],
        dim=2,
    )
    infinite = float("inf")
    low = torch.where(counts_q6[..., None], places_q62, infinite).amin(dim=1)
    high = torch.where(counts_q6[..., None], places_q62, -infinite).amax(dim=1)
    last = high.new_tensor(size) - 1.0
    # Centres are at + 0.5.
    first = (low - 0.5 - _MARGIN).ceil().clamp_min(0.0).clamp_max(last + 1.0)
    final = torch.minimum((high - 0.5 + _MARGIN).floor(), last).clamp_min(-1.0)
    return torch.cat([first, final], dim=1).long()


def _cross(a_q3: Tensor, b_q3: Tensor) -> Tensor:
    """As ``torch.linalg.cross``, but ``cross(a, b)`` is exactly ``-cross(b, a)`` on every device."""
    (ax, ay, az), (bx, by, bz) = a_q3.unbind(dim=1), b_q3.unbind(dim=1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], dim=1)


def _dot(a_q3: Tensor, b_q3: Tensor) -> Tensor:
    (ax, ay, az), (bx, by, bz) = a_q3.unbind(dim=1), b_q3.unbind(dim=1)
    return ax * bx + ay * by + az * bz


def _in_pixels(edges_q33: Tensor, inverse_q33: Tensor) -> Tensor:
    x, y, z = edges_q33.unbind(dim=2)
    k = inverse_q33[:, None]
    return torch.stack(
        [x * k[..., 0, 0], x * k[..., 0, 1] + y * k[..., 1, 1], x * k[..., 0, 2] + y * k[..., 1, 2] + z], dim=2
    )
