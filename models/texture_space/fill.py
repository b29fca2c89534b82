"""Fill the holes of an even texture without learning: from the mirrored side, else with the average skin.

Where light comes from and what the camera sees is out of the texture already, so both sides of a face agree but for a
smooth difference. Shapes: b batch, c channels, h w rows and columns. The chart is mirror-symmetric about u = 0.5.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mosar.models.losses import resized

_FEATHER = 1 / 80  # width of the seam between seen and filled texels, as a share of the chart's side
_COARSE = 8  # texels of a coarse cell, over which a smooth difference hardly changes


@dataclass(frozen=True, eq=False)
class Filled:
    """A texture without holes, and the source of each texel.

    Attributes:
        texture_bchw: the filled texture.
        known_b1hw: in [0, 1], weight of the seen texel; feathered inwards, so it is 0 in every hole.
        mirrored_b1hw: in [0, 1], weight of the mirrored texel; the rest up to one is the average skin.
        difference_bchw: what was added to the mirrored texels.
    """

    texture_bchw: Tensor
    known_b1hw: Tensor
    mirrored_b1hw: Tensor
    difference_bchw: Tensor


def fill(texture_bchw: Tensor, known_b1hw: Tensor, average_bchw: Tensor) -> Filled:
    """Fill a texture in [0, 1] where ``known_b1hw`` is 0; values there are ignored.

    Args:
        texture_bchw: colours in which equal steps look equal (sRGB-encoded).
        known_b1hw: weight of each texel, in [0, 1].
        average_bchw: what to see in holes on both sides, in the same colours; it is shifted smoothly so that it
            continues the texels around.
    """
    if known_b1hw.shape != (len(texture_bchw), 1, *texture_bchw.shape[-2:]):
        raise ValueError(
            f"fill: got texture {tuple(texture_bchw.shape)} and known {tuple(known_b1hw.shape)}; "
            "expected (B, C, H, W) and (B, 1, H, W)"
        )
    known = _feather(known_b1hw.to(texture_bchw.dtype))
    mirrored = known.flip(-1) * (1.0 - known)
    texture = torch.where(known > 0, texture_bchw, 0.0)
    difference = _difference(texture, known)
    mirror = (texture.flip(-1) + difference).clamp(0.0, 1.0)
    given = known + mirrored
    shift = _continued(known * texture + mirrored * mirror - average_bchw * given, given)
    whole = known * texture + mirrored * mirror + (1.0 - given) * (average_bchw + shift)
    return Filled(whole, known, mirrored, difference)


def fill_large(texture_bchw: Tensor, known_b1hw: Tensor, small: Filled) -> Filled:
    """The same at a larger size: seen and mirrored texels keep their detail, weights and the rest come from ``small``.

    ``texture_bchw`` and ``known_b1hw`` are the large ones, of which :func:`fill` saw the means.
    """
    known = resized(small.known_b1hw, known_b1hw) * known_b1hw
    mirrored = known.flip(-1) * (1.0 - known)
    difference = resized(small.difference_bchw, texture_bchw)
    whole = resized(small.texture_bchw, texture_bchw) * (1.0 - known - mirrored)
    whole += mirrored * (texture_bchw.flip(-1) + difference).clamp_(0.0, 1.0)
    whole += torch.where(known > 0, known * texture_bchw, 0.0)
    return Filled(whole, known, mirrored, difference)


def _continued(weighted_bchw: Tensor, given_b1hw: Tensor) -> Tensor:
    """Values in holes: those of the nearest texels beside them, and the smoother the farther away.

    A hole that took its edge's values all the way, a neck below a jaw for example, would be streaked.
    """
    size = weighted_bchw.shape[-2:]
    coarse = [max(1, n // (4 * _COARSE)) for n in size]
    mean, weight = (interpolate(m, size=coarse, mode="area") for m in (weighted_bchw, given_b1hw))
    far = interpolate(pull_push(mean, weight), size=size, mode="bilinear", align_corners=False)
    radius = max(1, round(size[1] / 24))
    near = given_b1hw
    for axis in (1, radius * 2 + 1):  # a box along rows, then along columns
        window = (axis, 2 * radius + 2 - axis)
        near = avg_pool2d(near, window, stride=1, padding=(window[0] // 2, window[1] // 2), count_include_pad=False)
    return torch.lerp(far, pull_push(weighted_bchw, given_b1hw), (2.0 * near).clamp(0.0, 1.0))


def _difference(texture_bchw: Tensor, known_b1hw: Tensor) -> Tensor:
    """Difference between each side and its mirror image, smoothly continued from the texels where both are known.

    It joins the mirrored side without a seam.
    """
    size = texture_bchw.shape[-2:]
    coarse = [max(1, n // _COARSE) for n in size]
    both = known_b1hw * known_b1hw.flip(-1)
    difference = interpolate(both * (texture_bchw - texture_bchw.flip(-1)), size=coarse, mode="area")
    smooth = pull_push(difference, interpolate(both, size=coarse, mode="area"))
    return interpolate(smooth, size=size, mode="bilinear", align_corners=False)


def _feather(known_b1hw: Tensor) -> Tensor:
    """A weight that falls from 1 to 0 towards the holes, within the known texels."""
    radius = max(1, round(_FEATHER * known_b1hw.shape[-1]))
    box = avg_pool2d(known_b1hw, 2 * radius + 1, stride=1, padding=radius, count_include_pad=False)
    return (2.0 * box - 1.0).clamp(0.0, 1.0) * known_b1hw


def pull_push(weighted_bchw: Tensor, weight_b1hw: Tensor) -> Tensor:
    """Pull-push (Gortler et al. 1996): fill the holes of maps that are given multiplied by their weights.

    Each hole takes its value from the finest level of a mean pyramid that has one; texels of weight one keep theirs.
    """
    if max(weight_b1hw.shape[-2:]) == 1:
        return weighted_bchw / weight_b1hw.clamp_min(1e-4)
    size = weighted_bchw.shape[-2:]
    half = [(n + 1) // 2 for n in size]
    coarse_weight = interpolate(weight_b1hw, size=half, mode="area")
    # A coarse texel of weight 1/4 or more counts as fully known, so that the nearest texels fill a hole.
    gain = (4.0 * coarse_weight).clamp_max(1.0) / coarse_weight.clamp_min(1e-8)
    coarse = pull_push(interpolate(weighted_bchw, size=half, mode="area") * gain, coarse_weight * gain)
    smooth = interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return weighted_bchw + (1.0 - weight_b1hw).clamp_min(0.0) * smooth
