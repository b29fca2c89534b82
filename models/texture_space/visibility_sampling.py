"""Random visibility of the skin in one photograph: cameras, occluders, hair. Shapes: b batch, h w rows and columns."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mosar.models.camera import FACING
from mosar.models.uv import Surface
from mosar.models.vectors import unit


def random_eyes(count: int, generator: torch.Generator, device: torch.device | None = None) -> Tensor:
    """Camera positions (b, 3) of portraits, mm, head frame: 0.4 to 1.6 m away, yaw up to 60 degrees, mostly frontal."""
    normal = torch.randn(count, 2, generator=generator, device=generator.device).to(device)
    share = torch.rand(count, 1, generator=generator, device=generator.device).to(device)
    yaw, pitch = (0.4 * normal[:, 0]).clamp(-1.05, 1.05), (0.12 * normal[:, 1]).clamp(-0.35, 0.35)
    direction = torch.stack([yaw.sin() * pitch.cos(), pitch.sin(), yaw.cos() * pitch.cos()], dim=-1)
    return direction * 400.0 * 4.0**share


def random_known(surface: Surface, inside_11hw: Tensor, eye_b3: Tensor, generator: torch.Generator) -> Tensor:
    """Mask (b, 1, h, w), 1 or 0, of the texels that a photograph from ``eye_b3`` (mm, head frame) shows.

    A texel is known where it faces the camera, unless a random occluder or random hair from the top of the chart
    hides it.
    """
    views = unit(eye_b3[:, :, None, None] - surface.position_b3hw)
    seen = (views * surface.normal_b3hw).sum(dim=1, keepdim=True) > FACING
    batch, _, height, width = seen.shape
    device = seen.device

    def uniform(low: float, high: float) -> Tensor:
        share = torch.rand(batch, 1, 1, 1, generator=generator, device=generator.device)
        return (share * (high - low) + low).to(device)

    blobs = smooth_noise(batch, (height, width), 6, generator).to(device)
    free = blobs < uniform(0.8, 3.5)
    wisps = smooth_noise(batch, (height, width), 10, generator).to(device)
    down = torch.linspace(0.0, 1.0, height, device=device)[:, None]
    below_hair = down + 0.05 * wisps > uniform(-0.2, 0.3)
    return (seen & free & below_hair).to(inside_11hw.dtype) * inside_11hw


def smooth_noise(count: int, size: tuple[int, int], cells: int, generator: torch.Generator) -> Tensor:
    """Smooth noise (b, 1, h, w) with a standard deviation of about one and ``cells`` grid cells a side."""
    coarse = torch.randn(count, 1, cells, cells, generator=generator, device=generator.device)
    return interpolate(coarse, size=size, mode="bicubic", align_corners=False)
