"""Hues of an avatar whose photograph shows none: grey light, and the average hue of skin."""

from dataclasses import replace

import torch
from torch import Tensor

from mosar.models.colour import LUMINANCE
from mosar.models.reconstruct.estimate import Estimate

_MEAN, _MELANIN, _SURFACE = (-0.989, -1.558, -1.931), (-0.511, -0.575, -0.639), 0.035
"""Skin of people (ISSA, Lu et al. 2025): mean log reflectance in linear sRGB, its change with melanin, and the surface
reflection that it contains."""


def with_assumed_hues(estimate: Estimate) -> Estimate:
    """The estimate with the same luminance of albedo and light, but assumed hues."""
    diffuse, light = estimate.maps.diffuse, estimate.light_1lc
    grey = _luminance(diffuse, 1)
    coloured = (grey * _skin_hue(float(grey.mean())).to(diffuse)[:, None, None]).clamp(0.0, 1.0)
    return replace(
        estimate,
        maps=replace(estimate.maps, diffuse=coloured),
        light_1lc=_luminance(light, 2).expand_as(light).contiguous(),
    )


def _skin_hue(luminance: float) -> Tensor:
    """Albedo (3) of average skin of about this luminance, divided by its luminance."""
    melanin_n1 = torch.linspace(-1.5, 2.5, 401)[:, None]
    albedo_n3 = (torch.tensor(_MEAN) + melanin_n1 * torch.tensor(_MELANIN)).exp() - _SURFACE
    albedo_n3 = albedo_n3.clamp_min(1e-3)
    luminance_n = albedo_n3 @ torch.tensor(LUMINANCE)
    nearest = int((luminance_n - luminance).abs().argmin())
    return albedo_n3[nearest] / luminance_n[nearest]


def _luminance(values: Tensor, axis: int) -> Tensor:
    weights = values.new_tensor(LUMINANCE)
    return torch.movedim(torch.movedim(values, axis, -1) @ weights[:, None], -1, axis)
