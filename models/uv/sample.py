"""Samples maps at points of the chart, and computes how much of the chart a pixel covers.

Shapes: b batch, c channels, h w rows and columns, n points (of one image, or packed covered pixels), v vertices,
w chart vertices, f triangles.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from mosar.models.camera import Camera, to_camera
from mosar.models.rasterizer import Covered

PROBES = 4
"""Samples along the longer side of a footprint. Footprints longer than this many widths are also blurred across."""


def sample(map_bchw: Tensor, uv: Tensor, footprint: Tensor | None = None, image_n: Tensor | None = None) -> Tensor:
    """Sample maps at chart coordinates (convention of :mod:`mosar.models.uv.chart`), clamped at the border.

    Args:
        map_bchw: any channels; linear values.
        uv: (B, N, 2), or packed (N, 2) with ``image_n``.
        footprint: (..., 2, 2), the result of :func:`footprint`. It filters the map over the pixel, with mip levels and
            several samples along the longer side, so that large maps do not alias. None samples bilinearly.
        image_n: index of each packed point's map, ascending. Without it all packed points share the map (1, C, H, W).

    Returns:
        (B, N, C) or (N, C), differentiable in the map and in ``uv``.
    """
    packed = uv.ndim == 2
    if map_bchw.ndim != 4 or uv.ndim not in (2, 3) or uv.shape[-1] != 2 or (not packed and len(map_bchw) != len(uv)):
        raise ValueError(
            f"sample: got map {tuple(map_bchw.shape)} and uv {tuple(uv.shape)}; "
            "expected (B, C, H, W) and (B, N, 2) or (N, 2)"
        )
    if footprint is not None and footprint.shape != (*uv.shape, 2):
        raise ValueError(
            f"sample: got uv {tuple(uv.shape)} and footprint {tuple(footprint.shape)}; expected (..., 2, 2)"
        )
    if packed and image_n is None and len(map_bchw) != 1:
        raise ValueError(f"sample: got {len(map_bchw)} maps for packed uv {tuple(uv.shape)}; expected image_n as well")
    levels = [map_bchw]
    if footprint is not None:
        while min(levels[-1].shape[-2:]) > 1:
            levels.append(avg_pool2d(levels[-1], 2))
    if not packed:
        counts = [uv.shape[1]] * len(uv)
    elif image_n is None:
        counts = [len(uv)]
    else:
        counts = torch.bincount(image_n, minlength=len(map_bchw)).tolist()
    uv_by_image = uv.reshape(-1, 2).split(counts)
    if footprint is None:
        values = [_bilinear(map_bchw[i : i + 1], at) for i, at in enumerate(uv_by_image)]
    else:
        sides = footprint.reshape(-1, 2, 2).split(counts)
        pairs = enumerate(zip(uv_by_image, sides, strict=True))
        values = [_filtered([level[i : i + 1] for level in levels], at, side) for i, (at, side) in pairs]
    return torch.cat(values).view(*uv.shape[:-1], map_bchw.shape[1])


def footprint(
    covered: Covered, triangles_f3: Tensor, vertices_bv3: Tensor, uv_triangles_f3: Tensor, uv_w2: Tensor, camera: Camera
) -> Tensor:
    """Exact derivatives of chart coordinates at covered pixels: d(u, v) / d(x, y), (N, 2, 2); no gradients.

    Barycentrics are ratios of functions that are linear in the pixel, so their derivatives follow from the triangle
    alone. Neighbouring pixels are not used, because they may lie across a seam.
    """
    with torch.no_grad():
        points_bv3 = to_camera(camera, vertices_bv3)
        corner_n3 = triangles_f3[covered.triangle_n] + (covered.image_n * points_bv3.shape[1])[:, None]
        a, b, c = points_bv3.reshape(-1, 3)[corner_n3].unbind(1)
        edges_n33 = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], 1)
        inverse_n33 = torch.linalg.inv(camera.intrinsics_b33)[covered.image_n]
        weights_n33 = edges_n33 @ inverse_n33  # rows: corner; columns: per x, per y, constant
        pixel_n3 = torch.stack([covered.column_n + 0.5, covered.row_n + 0.5, torch.ones_like(covered.row_n)], -1)
        total_n = (weights_n33 @ pixel_n3.to(weights_n33)[..., None]).sum((1, 2))
        slope_n32 = weights_n33[..., :2]
        change_n32 = slope_n32 - covered.barycentric_n3[..., None] * slope_n32.sum(1, keepdim=True)
        uv_n32 = uv_w2[uv_triangles_f3[covered.triangle_n]].to(change_n32)
        return uv_n32.mT @ change_n32 / total_n[:, None, None]


def _bilinear(map_1chw: Tensor, uv_n2: Tensor) -> Tensor:
    grid_n2 = uv_n2 * uv_n2.new_tensor([2.0, -2.0]) + uv_n2.new_tensor([-1.0, 1.0])
    value_1c1n = grid_sample(map_1chw, grid_n2[None, None].to(map_1chw), padding_mode="border", align_corners=False)
    return value_1c1n[0, :, 0].mT


def _filtered(levels_1chw: list[Tensor], uv_n2: Tensor, footprint_n22: Tensor) -> Tensor:
    """Mean of trilinear samples along the longer axis of the ellipse to which a circular pixel maps."""
    height, width = levels_1chw[0].shape[-2:]
    texels_n22 = footprint_n22.detach() * footprint_n22.new_tensor([width, height])[:, None]
    axis_n2, longer_n, shorter_n = _axes(texels_n22)
    level_n = torch.maximum(shorter_n, longer_n / PROBES).clamp_min(1).log2().clamp_max(len(levels_1chw) - 1)
    step_n2 = axis_n2 * longer_n[:, None] / footprint_n22.new_tensor([width, height])
    total = uv_n2.new_zeros(len(uv_n2), levels_1chw[0].shape[1], dtype=levels_1chw[0].dtype)
    for probe in range(PROBES):
        at_n2 = uv_n2 + step_n2 * ((probe + 0.5) / PROBES - 0.5)
        for i, level_1chw in enumerate(levels_1chw):
            weight_n = (1 - (level_n - i).abs()).clamp_min(0) / PROBES
            index = torch.nonzero(weight_n)[:, 0]
            if len(index):
                value = _bilinear(level_1chw, at_n2[index]) * weight_n[index, None]
                total = total.index_add(0, index, value.to(total.dtype))
    return total


def _axes(texels_n22: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit direction (n, 2) of the longer axis of the ellipse of ``texels @ circle``, and the lengths of both axes.

    The singular values of 2 x 2 matrices in closed form: torch's general decomposition takes longer than the sampling.
    """
    (a, b), (c, d) = (row.unbind(-1) for row in texels_n22.unbind(-2))
    xx, yy, xy = a * a + b * b, c * c + d * d, a * c + b * d  # M M^T
    mean, turn = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    angle_n = torch.atan2(2 * xy, xx - yy) / 2
    lengths = (mean + turn).clamp_min(0).sqrt(), (mean - turn).clamp_min(0).sqrt()
    return torch.stack([angle_n.cos(), angle_n.sin()], -1), *lengths
