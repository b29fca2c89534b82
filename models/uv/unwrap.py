"""Unwraps photographs onto the chart, filtered both ways, in bands of rows. No gradients.

Shapes: b batch, v vertices, c channels, h w rows and columns of the photograph, s texels a side of the chart, n points.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate, max_pool2d, pad

from mosar.models.camera import Camera, project, to_camera, transform_image, views
from mosar.models.rasterizer import rasterize
from mosar.models.uv.chart import Chart, chart
from mosar.models.uv.surface import surface

if TYPE_CHECKING:
    from mosar.models.head import Head

GRAZING, FRONTAL = 0.05, 0.2
"""Cosines between normal and view direction: a texel is unseen below the first and fully seen above the second.

With 0.15 and 0.4 the avatars of six portraits were 0.4 dB farther from them.
"""

_SLACK_MM = 1.0
_BAND = 1 << 19  # texels at a time, to bound the memory of large charts
_ENLARGED = ((4, 768), (2, 1536))  # how many times images of at most this many pixels a side are enlarged
_DEPTH_SIDE = 1024  # pixels: longer side of the depth map that tells what the head itself hides


@torch.no_grad()
def unwrap(image_bchw: Tensor, head: "Head", vertices_bv3: Tensor, camera: Camera, size: int) -> tuple[Tensor, Tensor]:
    """Unwrap the colours of the head's skin in photographs.

    Where the photograph is finer than the chart, each texel is the mean over its footprint (trilinear in a pyramid of
    means); where it is coarser, it is interpolated by cubics.

    Args:
        image_bchw: any channels; linear colour.
        vertices_bv3: head frame, mm.
        camera: cameras of the images.
        size: texels along a side of the chart.

    Returns:
        The texture (B, C, size, size), 0 at texels that are not seen; and ``seen`` (B, 1, size, size) in [0, 1]: 0
        where the point lies outside the image, is hidden by the head or grazing (see ``GRAZING``), and 1 where it is
        seen from the front. The caller has to mask hair or glasses in front of the skin.
    """
    if image_bchw.ndim != 4 or len(image_bchw) != len(camera) or len(vertices_bv3) != len(camera):
        raise ValueError(
            f"unwrap: got image {tuple(image_bchw.shape)}, vertices {tuple(vertices_bv3.shape)} and {len(camera)} "
            f"cameras; expected (B, C, H, W), (B, V, 3) and B"
        )
    texels = chart(head, size)
    texture = image_bchw.new_zeros(len(image_bchw), image_bchw.shape[1], size, size)
    seen = image_bchw.new_zeros(len(image_bchw), 1, size, size)
    rows = max(1, _BAND // size)
    for i in range(len(image_bchw)):
        image, vertices, eye = image_bchw[i : i + 1], vertices_bv3[i : i + 1], camera[i]
        picture, depth = _pyramid(image), _depth(head, vertices, eye, (image.shape[2], image.shape[3]))
        for first in range(0, size, rows):
            last = min(first + rows, size)
            low, high = max(first - 1, 0), min(last + 1, size)  # one row more on each side, for differences
            band = Chart(texels.triangle_hw[low:high], texels.barycentric_hw3[low:high]).to(image.device)
            colour, weight = _band(picture, depth, head, vertices, eye, band)
            own = slice(first - low, last - low)
            texture[i, :, first:last], seen[i, :, first:last] = colour[:, own], weight[:, own]
    return texture, seen


@torch.no_grad()
def density(head: "Head", vertices_1v3: Tensor, camera: Camera, size: int = 128) -> float:
    """Pixels of the photograph along a texel's side of a ``size`` chart: the median over texels that face the camera.

    A chart of ``size`` times this many texels holds what the photograph shows.
    """
    texels = chart(head, size).to(vertices_1v3.device)
    points = surface(texels, head, vertices_1v3)
    position = points.position_b3hw.flatten(2).mT
    facing = (points.normal_b3hw.flatten(2).mT * views(camera, position)).sum(-1).view(size, size) > FRONTAL
    inside = texels.triangle_hw >= 0
    steps = _steps(project(camera, position)[0].mT.unflatten(-1, (size, size)), inside)
    area = (steps[0, 0] * steps[1, 1] - steps[0, 1] * steps[1, 0]).abs()[facing & inside]
    return float(area.median().sqrt()) if area.numel() else 0.0


def _band(
    picture: tuple[list[Tensor], int],
    depth: tuple[Tensor, float],
    head: "Head",
    vertices: Tensor,
    camera: Camera,
    band: Chart,
) -> tuple[Tensor, Tensor]:
    """Colours (c, rows, s) and weights (1, rows, s) of a band of the chart."""
    (levels, larger), (depth_11hw, to_depth) = picture, depth
    shape, inside = band.triangle_hw.shape, band.triangle_hw >= 0
    points = surface(band, head, vertices)
    position = points.position_b3hw.flatten(2).mT
    pixel = project(camera, position)[0].mT.unflatten(-1, shape)  # 2, rows, s
    height, width = (n // larger for n in levels[0].shape[-2:])
    within = inside & (pixel >= 0).all(0) & (pixel[0] <= width) & (pixel[1] <= height)
    facing = (points.normal_b3hw.flatten(2).mT * views(camera, position))[0].sum(-1).view(shape)
    away = to_camera(camera, position)[0, :, 2].view(shape)
    size = pixel.new_tensor([depth_11hw.shape[-1], depth_11hw.shape[-2]])[:, None, None]
    grid = torch.where(within, pixel * to_depth / size * 2 - 1, -2.0).permute(1, 2, 0)[None].to(depth_11hw.dtype)
    nearest = grid_sample(depth_11hw, grid, mode="nearest", align_corners=False)[0, 0]
    # The depth is sampled up to a pixel and a half away, so oblique surfaces need a larger tolerance.
    pixel_mm = away / (camera.intrinsics_b33[0, 0, 0] * to_depth)
    slope = torch.sqrt(1 / facing.clamp_min(GRAZING) ** 2 - 1)
    open_ = (nearest > 0) & (away <= nearest + 2 * pixel_mm * slope + _SLACK_MM)
    t = ((facing - GRAZING) / (FRONTAL - GRAZING)).clamp(0, 1)
    weight = (t * t * (3 - 2 * t) * (within & open_)).to(levels[0].dtype)
    wanted = weight > 0
    texture = levels[0].new_zeros(levels[0].shape[1], *shape)
    if bool(wanted.any()):
        steps = _steps(pixel, inside)[:, :, wanted]
        texture[:, wanted] = _sampled(levels, larger * pixel[:, wanted].T, larger * steps.norm(dim=0).amax(0))
    return texture, weight[None]


def _steps(pixel_2hw: Tensor, inside_hw: Tensor) -> Tensor:
    """Change of the pixel (x, y) by a texel along rows and columns (2, 2, h, w): the smaller of both neighbours'.

    The smaller one, because a neighbour may lie across a hole of the chart.
    """
    found = []
    for axis in (2, 1):
        ahead = pixel_2hw.diff(dim=axis)
        both = (inside_hw.narrow(axis - 1, 0, ahead.shape[axis]) & inside_hw.narrow(axis - 1, 1, ahead.shape[axis]))[
            None
        ]
        ahead = torch.where(both, ahead, 1e6)
        edge = torch.full_like(pixel_2hw.narrow(axis, 0, 1), 1e6)
        pair = torch.cat([ahead, edge], axis), torch.cat([edge, ahead], axis)
        least = torch.where(pair[0].norm(dim=0) < pair[1].norm(dim=0), *pair)
        found.append(torch.where(least.abs() < 1e5, least, 0.0))
    return torch.stack(found, dim=1)


def _sampled(levels: list[Tensor], pixel_n2: Tensor, width_n: Tensor) -> Tensor:
    """Colours (c, n) at pixels of the first level, averaged over ``width_n`` of them."""
    level_n = width_n.clamp_min(1).log2().clamp_max(len(levels) - 1)
    total = levels[0].new_zeros(levels[0].shape[1], len(pixel_n2))
    for i, level in enumerate(levels):
        weight_n = (1 - (level_n - i).abs()).clamp_min(0)
        index = torch.nonzero(weight_n)[:, 0]
        if len(index):
            size = pixel_n2.new_tensor([level.shape[-1], level.shape[-2]])
            grid = (pixel_n2[index] / 2**i / size * 2 - 1)[None, None].to(level.dtype)
            value = grid_sample(level, grid, padding_mode="border", align_corners=False)[0, :, 0]
            total[:, index] += value * weight_n[index].to(value.dtype)
    return total


def _pyramid(image_1chw: Tensor) -> tuple[list[Tensor], int]:
    """The image, enlarged if it is small, and its means over 2, 4, ... pixels; and by how much it was enlarged.

    Enlarging is bicubic (Catmull-Rom): bilinear samples of the image itself would show its pixels as blocks. The means
    go down to 16 pixels a side; odd sizes repeat their last pixels.
    """
    larger = next((n for n, side in _ENLARGED if max(image_1chw.shape[-2:]) <= side), 1)
    fine = image_1chw
    if larger > 1:  # with antialiasing torch takes Catmull-Rom's kernel, otherwise one that ripples on ramps
        size = [n * larger for n in image_1chw.shape[-2:]]
        fine = interpolate(image_1chw, size=size, mode="bicubic", antialias=True, align_corners=False)
    levels = [fine]
    while min(levels[-1].shape[-2:]) > 16:
        odd = [n % 2 for n in levels[-1].shape[-2:]]
        even = pad(levels[-1], (0, odd[1], 0, odd[0]), mode="replicate") if any(odd) else levels[-1]
        levels.append(avg_pool2d(even, 2))
    return levels, larger


def _depth(head: "Head", vertices_1v3: Tensor, camera: Camera, size: tuple[int, int]) -> tuple[Tensor, float]:
    """Least depth around each pixel of a picture of the head (1, 1, h, w), 0 where there is none, and its scale."""
    scale = min(1.0, _DEPTH_SIDE / max(size))
    small = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    affine = torch.diag(camera.intrinsics_b33.new_tensor([scale, scale, 1.0]))
    triangles = torch.tensor(head.triangles_f3, device=vertices_1v3.device)
    depth = rasterize(vertices_1v3, triangles, transform_image(camera, affine), small).zbuf[..., 0][:, None]
    far = torch.where(depth > 0, depth, torch.inf)
    near = -max_pool2d(-far, 3, stride=1, padding=1)
    return torch.where(depth > 0, near, 0.0), scale
