"""Statistical detail: skin that was filled in gets the grain of the skin that was seen. Colours sRGB-encoded."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from mosar.models.losses import resized
from mosar.models.reconstruct.smooth import blur, noise

_SIDE = 512  # texels a side of the map on which the coarse bands are measured
_SCALES = (1.2, 2.4, 4.8)  # blurs between which bands of detail lie, texels of their map
_SOUND = 0.9  # least weight of texels that are measured
_LEAST = 400  # of them


def grain(texture_13ss: Tensor, known_11ss: Tensor, exclude_11tt: Tensor) -> list[tuple[float, float]]:
    """Deviation of the luminance of seen skin in each band of detail, without its outliers (brows, moles, edges).

    Three bands are measured on 512 x 512 texels, and one more with each doubling of the size up to the texture's.

    Args:
        texture_13ss: texture; ``known_11ss``: weight of seen texels.
        exclude_11tt: 1 where texels are no plain skin.

    Returns:
        Blur of each band, as a share of the chart's side, and its deviation.
    """
    size = texture_13ss.shape[-1]
    found = []
    side = min(_SIDE, size)
    coarse = texture_13ss.new_empty(1, 1, side, side)
    whole = (blur(resized(known_11ss, coarse), 3.0 * side / _SIDE) > _SOUND) & (resized(exclude_11tt, coarse) < 0.5)
    while side <= size:
        like = texture_13ss.new_empty(1, 1, side, side)
        luminance = resized(texture_13ss, like).mean(dim=1, keepdim=True)
        sound = resized(whole.to(like.dtype), like) > 0.99
        scales = _SCALES if side <= _SIDE else _SCALES[:1]
        deviations = _deviations(luminance, sound, scales)
        found += [(sigma / side, deviation) for sigma, deviation in zip(scales, deviations, strict=True)]
        side *= 2
    return found


def _deviations(luminance_11ss: Tensor, sound_11ss: Tensor, scales: Sequence[float]) -> list[float]:
    if int(sound_11ss.sum()) < _LEAST:
        return [0.0 for _ in scales]
    levels = [luminance_11ss, *(blur(luminance_11ss, sigma) for sigma in scales)]
    return [1.48 * float((a - b)[sound_11ss].abs().median()) for a, b in pairwise(levels)]


def add_grain(
    texture_13ss: Tensor, known_11ss: Tensor, bands: Sequence[tuple[float, float]], generator: torch.Generator
) -> Tensor:
    """The texture with that grain where it is not seen."""
    size = texture_13ss.shape[-1]
    total = torch.zeros(1, 1, size, size)
    for sigma, deviation in bands:
        if deviation > 0:
            total += deviation * noise(size, max(1.0, 1.6 * sigma * size), generator)
    return texture_13ss + total.to(texture_13ss) * (1.0 - known_11ss)
