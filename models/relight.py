"""Random lights for training, computed on the device of the batch's lights: (b, 81, 3), head frame, linear radiance."""

import math

import torch
from torch import Tensor

from mosar.models.colour import LUMINANCE
from mosar.models.directions import on_hemisphere
from mosar.models.shading import irradiance, sh

LAMPS = 3
"""Maximum number of directional lights added to a light."""

_ERRORS = (0.14, 0.13, 0.24, 0.37, *5 * (0.40,))
"""Error of an estimated light, over the RMS of each band: of 382 captures of training, after one gain per channel."""
_COMMON = 0.95  # share of the variance of these errors that all channels have in common, measured on the same captures
_HUE = 0.1  # deviation of the logarithm of each channel's gain from their mean, likewise

_BALL = 200  # points of the ball that the lights are metered on


def uniform_light(batch: int, device: torch.device | None = None) -> Tensor:
    """White light of radiance one from all directions. Its irradiance is pi, so a diffuse surface shows its albedo."""
    light = torch.zeros(batch, sh.BANDS**2, 3, device=device)
    light[:, 0] = math.sqrt(4.0 * math.pi)
    return light


def random_lights(light_blc: Tensor, generator: torch.Generator, exposure: float = 0.25) -> Tensor:
    """New lights for a batch of captures, derived from the batch's own lights.

    Lights are permuted within the batch, turned about the vertical by a random angle, mixed with up to three
    directional lights from the front and above, exposed and tinted between warm and cold. The exposure gives a white
    ball seen from the front the mean luminance 1, up to a log-normal error of deviation ``exposure``.
    """
    device, count = light_blc.device, len(light_blc)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=generator.device).to(device)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator, device=generator.device) * (high - low) + low).to(device)

    order = torch.randperm(count, generator=generator, device=generator.device).to(device)
    light = sh.rotate(light_blc[order], _turns(uniform(-math.pi, math.pi, count))).to(light_blc.dtype)
    light = light / _exposure(light)
    for _ in range(LAMPS):
        around, height = uniform(-1.9, 1.9, count), 0.35 + 0.35 * normal(count)
        direction = torch.stack([around.sin() * height.cos(), height.sin(), around.cos() * height.cos()], dim=-1)
        power = uniform(0.2, 1.5, count, 1) * (uniform(0.0, 1.0, count, 1) < 0.4)
        light = light + sh.directional(direction, power * _tint(0.15 * normal(count, 1)))
    # The meter has a lower bound, so a back-lit face stays darker than others.
    light = light / _exposure(light) * (exposure * normal(count, 1, 1)).exp()
    tint = _tint(0.08 * normal(count, 1)) * (0.05 * normal(count, 3)).exp()
    return light * tint[:, None]


def perturb_light(light_blc: Tensor, generator: torch.Generator) -> Tensor:
    """Add the error of a light estimate: Gaussian, with a share of each band's RMS, mostly the same in all channels."""
    bands = [light_blc[:, d * d : (d + 1) ** 2] for d in range(sh.BANDS)]
    spread = torch.cat(
        [
            share * b.square().mean(dim=(1, 2), keepdim=True).sqrt().expand_as(b)
            for share, b in zip(_ERRORS, bands, strict=True)
        ],
        dim=1,
    )
    count, coefficients, channels = light_blc.shape
    noise = torch.randn(count, coefficients, channels + 1, generator=generator, device=generator.device).to(light_blc)
    found = light_blc + spread * (_COMMON**0.5 * noise[..., :1] + (1.0 - _COMMON) ** 0.5 * noise[..., 1:])
    hue = torch.randn(count, 1, channels, generator=generator, device=generator.device).to(light_blc)
    return found * (_HUE * (hue - hue.mean(dim=2, keepdim=True))).exp()


def _tint(warmth_b1: Tensor) -> Tensor:
    """Colours (b, 3) of a warmth: it raises the natural logarithm of red and lowers that of blue."""
    return torch.cat([warmth_b1, torch.zeros_like(warmth_b1), -warmth_b1], dim=1).exp()


def _turns(angle_b: Tensor) -> Tensor:
    """Rotations (b, 3, 3) about +y."""
    zero, one = torch.zeros_like(angle_b), torch.ones_like(angle_b)
    cosine, sine = angle_b.cos(), angle_b.sin()
    return torch.stack([cosine, zero, sine, zero, one, zero, -sine, zero, cosine], dim=-1).view(-1, 3, 3)


def metered(light_blc: Tensor) -> Tensor:
    """What a camera's meter sees (b, 3): the mean of irradiance / pi over a ball seen from +z, linear."""
    ball = torch.from_numpy(on_hemisphere(_BALL)).to(light_blc)
    lit = irradiance(light_blc, ball.expand(len(light_blc), -1, -1)).clamp_min(0.0) / math.pi
    return lit.mean(dim=1)


def _exposure(light_blc: Tensor) -> Tensor:
    """Luminance (b, 1, 1) of :func:`metered`, at least 0.15."""
    seen = metered(light_blc)
    return (seen @ seen.new_tensor(LUMINANCE)).clamp_min(0.15)[:, None, None]
