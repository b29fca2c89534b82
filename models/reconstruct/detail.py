"""Statistical detail: skin that was filled in gets the grain of the skin that was seen. Colours sRGB-encoded."""

from itertools import pairwise

import torch
from torch import Tensor

from mosar.models.losses import resized
from mosar.models.reconstruct.smooth import blur, noise

_SCALES = (1.2, 2.4, 4.8)  # blurs between which a band of detail lies, texels of a map of 512
_SOUND = 0.9  # least weight of texels that are measured
_LEAST = 400  # of them


def grain(small_13tt: Tensor, known_11tt: Tensor, exclude_11tt: Tensor) -> list[float]:
    """Deviation of the luminance of seen skin in each band of detail, without its outliers (brows, moles, edges).

    Args:
        small_13tt: texture on 512 x 512 texels; ``known_11tt``: weight of seen texels.
        exclude_11tt: 1 where texels are no plain skin.
    """
    luminance = small_13tt.mean(dim=1, keepdim=True)
    sound = (blur(known_11tt, 3.0) > _SOUND) & (exclude_11tt < 0.5)
    if int(sound.sum()) < _LEAST:
        return [0.0 for _ in _SCALES]
    levels = [luminance, *(blur(luminance, sigma) for sigma in _SCALES)]
    bands = [a - b for a, b in pairwise(levels)]
    return [1.48 * float(band[sound].abs().median()) for band in bands]


def add_grain(texture_13ss: Tensor, known_11ss: Tensor, strengths: list[float], generator: torch.Generator) -> Tensor:
    """The texture (of any size) with that grain where it is not seen."""
    size = texture_13ss.shape[-1]
    total = torch.zeros(1, 1, size, size)
    for sigma, strength in zip(_SCALES, strengths, strict=True):
        if strength > 0:
            total += strength * noise(size, max(1.0, 1.6 * sigma * size / 512), generator)
    return texture_13ss + resized(total, texture_13ss).to(texture_13ss) * (1.0 - known_11ss)
