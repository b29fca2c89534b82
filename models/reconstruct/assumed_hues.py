"""Hues of an avatar whose photograph shows none: grey light, and the average hue of skin."""

from dataclasses import replace

import torch
from torch import Tensor

from mosar.models.colour import LUMINANCE
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.reconstruct.tone import hue


def with_assumed_hues(estimate: Estimate) -> Estimate:
    """The estimate with the same luminance of albedo and light, but assumed hues."""
    diffuse, light = estimate.maps.diffuse, estimate.light_1lc
    grey = _luminance(diffuse, 1)
    coloured = (grey * hue(float(grey.mean())).to(diffuse)[:, None, None]).clamp(0.0, 1.0)
    return replace(
        estimate,
        maps=replace(estimate.maps, diffuse=coloured),
        light_1lc=_luminance(light, 2).expand_as(light).contiguous(),
    )


def _luminance(values: Tensor, axis: int) -> Tensor:
    weights = values.new_tensor(LUMINANCE)
    return torch.movedim(torch.movedim(values, axis, -1) @ weights[:, None], -1, axis)
