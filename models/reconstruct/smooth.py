"""Blurs, smooth steps and band-limited noise on maps."""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad


def blur(map_1chw: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with this standard deviation, texels; the border is repeated."""
    radius = max(1, math.ceil(3 * sigma))
    weight = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2).to(map_1chw)
    weight = weight / weight.sum()
    channels = map_1chw.shape[1]
    wide = pad(map_1chw, (radius, radius, radius, radius), mode="replicate")
    across = conv2d(wide, weight.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return conv2d(across, weight.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def smoothstep(values: Tensor, limits: tuple[float, float]) -> Tensor:
    """0 below both limits, 1 above them, and a cubic with flat ends between."""
    t = ((values - limits[0]) / (limits[1] - limits[0])).clamp(0.0, 1.0)
    return t * t * (3 - 2 * t)


def noise(size: int, cell: float, generator: torch.Generator) -> Tensor:
    """Noise (1, 1, size, size) of mean 0 and deviation about 1 whose blobs are about ``cell`` texels wide."""
    cells = max(2, min(size, round(size / cell)))
    coarse = torch.randn(1, 1, cells, cells, generator=generator)
    if cells == size:
        return coarse
    fine = interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)
    return fine / fine.std().clamp_min(1e-6)
