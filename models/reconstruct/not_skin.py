"""Texels that the segmentation takes for skin, but whose colour says that they are not."""

from dataclasses import replace

from torch import Tensor
from torch.nn.functional import max_pool2d

from mosar.models.colour import luminance
from mosar.models.head import Head
from mosar.models.losses import resized
from mosar.models.reconstruct.seen import BASE, Seen
from mosar.models.reconstruct.tone import Tone
from mosar.models.texture_space.lighting import Lighting
from mosar.models.uv import texels_of

_PALE, _BRIGHT = 0.65, 1.2  # cloth: its red over blue and its luminance, relative to the skin's
_COLLAR = 6  # texels around it that may be blends; all texels are those of BASE
_DARK = 0.65  # luminance of a fringe's ends, relative to the skin's, at most
_FRINGE = 4  # texels around them that may be blends
_REACH = 64  # texels that they reach down from the hair, at most


def without_collars(head: Head, seen: Seen, light: Lighting, tone: Tone) -> Seen:
    """Leave out texels of the neck that are paler than the person's skin: white collars that are taken for skin."""
    even = _even(seen, light)
    red, _, blue = tone.albedo_3
    pale = (even[:, :1] / even[:, 2:] < _PALE * red / blue) & (luminance(even) > _BRIGHT * tone.luminance)
    neck = texels_of(head, head.region("neck"), BASE).to(even.device)[None, None]
    return _without(seen, pale & neck & (seen.small_weight_11hw > 0), _COLLAR)


def without_fringe(head: Head, seen: Seen, light: Lighting, tone: Tone) -> Seen:
    """Leave out texels of the forehead that are much darker than the person's skin and lie beside what is not seen.

    That is hair, nearly always: they are the ends of a fringe, through which some skin shines, and the shadow below it.
    """
    even = _even(seen, light)
    upper = texels_of(head, head.region("forehead") | head.region("scalp"), BASE).to(even.device)[None, None]
    hidden = upper & (seen.small_weight_11hw <= 0)
    dark = upper & (seen.small_weight_11hw > 0) & (luminance(even) < _DARK * tone.luminance)
    found = hidden.to(even.dtype)
    allowed = (dark | hidden).to(even.dtype)
    for _ in range(_REACH):
        found = max_pool2d(found, 3, stride=1, padding=1) * allowed
    return _without(seen, (found > 0) & dark, _FRINGE)


def _even(seen: Seen, light: Lighting) -> Tensor:
    return light.even(seen.small_colour_13hw).clamp_min(1e-4)


def _without(seen: Seen, wrong_11hw: Tensor, around: int) -> Seen:
    """What is seen without these texels and those around them."""
    wrong = max_pool2d(wrong_11hw.to(seen.small_weight_11hw.dtype), 2 * around + 1, stride=1, padding=around)
    weight, small = (w * (1.0 - resized(wrong, w)) for w in (seen.weight_11hw, seen.small_weight_11hw))
    return replace(seen, weight_11hw=weight, small_weight_11hw=small, colour_13hw=seen.colour_13hw * (weight > 0))
