"""Holes of a texture filled without learning: from the mirrored side, then smoothly from what surrounds them.

Shapes: b batch, c channels, h w rows and columns. The chart is mirror-symmetric about u = 0.5.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

_FEATHER = 1 / 48  # of the chart's side: width of the seam between what is seen and what is filled in

_COARSE = 8  # texels over which light, unlike skin, hardly changes


@dataclass(frozen=True, eq=False)
class Filled:
    """A texture without holes, and where its texels come from.

    Attributes:
        texture_bchw: the filled texture.
        known_b1hw: in [0, 1], how far a texel is what was seen; feathered inwards, so it is 0 in every hole.
        mirrored_b1hw: in [0, 1], how far it is its mirror; the rest up to one was filled in smoothly.
    """

    texture_bchw: Tensor
    known_b1hw: Tensor
    mirrored_b1hw: Tensor


def fill(texture_bchw: Tensor, known_b1hw: Tensor) -> Filled:
    """Fill a texture in [0, 1] where ``known_b1hw`` (bool or 0 / 1) is not set; its values there are not looked at."""
    if known_b1hw.shape != (len(texture_bchw), 1, *texture_bchw.shape[-2:]):
        raise ValueError(
            f"fill: got texture {tuple(texture_bchw.shape)} and known {tuple(known_b1hw.shape)}; "
            "expected (B, C, H, W) and (B, 1, H, W)"
        )
    known = _feather(known_b1hw.to(texture_bchw.dtype))
    mirrored = known.flip(-1) * (1.0 - known)
    texture = torch.where(known > 0, texture_bchw, 0.0)
    mirror = (texture.flip(-1) + _difference(texture, known)).clamp(0.0, 1.0)
    return Filled(pull_push(known * texture + mirrored * mirror, known + mirrored), known, mirrored)


def _difference(texture_bchw: Tensor, known_b1hw: Tensor) -> Tensor:
    """By how much a side differs from its mirror, smoothly continued from where both are known.

    Light comes from one side: the mirrored side must join the other without a seam.
    """
    size = texture_bchw.shape[-2:]
    coarse = [max(1, n // _COARSE) for n in size]
    both = known_b1hw * known_b1hw.flip(-1)
    difference = interpolate(both * (texture_bchw - texture_bchw.flip(-1)), size=coarse, mode="area")
    smooth = pull_push(difference, interpolate(both, size=coarse, mode="area"))
    return interpolate(smooth, size=size, mode="bilinear", align_corners=False)


def _feather(known_b1hw: Tensor) -> Tensor:
    """Falls from 1 to 0 towards the holes, within the known texels."""
    radius = max(1, round(_FEATHER * known_b1hw.shape[-1]))
    box = avg_pool2d(known_b1hw, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
    return (2.0 * box - 1.0).clamp(0.0, 1.0) * known_b1hw


def pull_push(weighted_bchw: Tensor, weight_b1hw: Tensor) -> Tensor:
    """Pull-push (Gortler et al. 1996): maps times their weights, as full maps.

    Each hole takes the finest of coarser and coarser means that has a value; elsewhere values stay.
    """
    if max(weight_b1hw.shape[-2:]) == 1:
        return weighted_bchw / weight_b1hw.clamp_min(1e-4)
    size = weighted_bchw.shape[-2:]
    half = [(n + 1) // 2 for n in size]
    coarse_weight = interpolate(weight_b1hw, size=half, mode="area")
    # More than a quarter of a texel's weight is as good as all of it: holes are filled by what is nearest.
    gain = (4.0 * coarse_weight).clamp_max(1.0) / coarse_weight.clamp_min(1e-8)
    coarse = pull_push(interpolate(weighted_bchw, size=half, mode="area") * gain, coarse_weight * gain)
    smooth = interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return weighted_bchw + (1.0 - weight_b1hw).clamp_min(0.0) * smooth
