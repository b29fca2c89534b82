"""Hues of an albedo: where skin seems green, blue or strongly yellow, the light was estimated wrongly."""

import math

import torch
from torch import Tensor

from mosar.models.colour import luminance
from mosar.models.losses import resized
from mosar.models.reconstruct.open_skin import open_skin
from mosar.models.reconstruct.smooth import blur

REACH = 1 / 128
"""Deviation of the blur under which hues are compared, as a share of the chart's side: detail stays."""
_FURTHEST = math.log(1.5)  # logarithm of a ratio of channels, over that of the person's skin
_MOST = math.log(3.0)  # by which a ratio changes


def without_casts(albedo_13ss: Tensor, ao_11nn: Tensor, known_11nn: Tensor, free_11nn: Tensor) -> Tensor:
    """The albedo (1, 3, s, s), linear RGB in [0, 1], with smooth hues near that of the person's open skin, or grey.

    Where little light falls, its colour is hardly known, and the albedo gets the opposite one: a green rim under the
    chin, a yellow temple. So the ratios of red and of blue over green are limited: to 1.5 times those of the skin, or
    to those of grey beards where they are further away. The luminance stays. Large birthmarks and make-up of other hues
    become more like skin, too. The albedo stays as it is where
    :func:`~mosar.models.reconstruct.open_skin.open_skin` finds nothing.

    Args:
        ao_11nn: occlusion by the person's geometry; 0 beside the chart; n texels a side of a coarse map.
        known_11nn: how well the photograph, or its mirror image, shows a texel.
        free_11nn: 1 where every hue is right, such as on lips.
    """
    open_hw = open_skin(ao_11nn, known_11nn)
    if open_hw is None:
        return albedo_13ss
    inside, sigma = (ao_11nn > 0).to(albedo_13ss), REACH * ao_11nn.shape[-1]
    smooth = blur(resized(albedo_13ss, ao_11nn) * inside, sigma) / blur(inside, sigma).clamp_min(1e-3)
    log = smooth.clamp_min(1e-3).log()
    ratio = log[:, [0, 2]] - log[:, 1:2]
    usual = ratio[0, :, open_hw].median(dim=1).values[None, :, None, None]
    grey = torch.zeros_like(usual)
    nearest = ratio.minimum((usual + _FURTHEST).maximum(grey)).maximum((usual - _FURTHEST).minimum(grey))
    change = (nearest - ratio).clamp(-_MOST, _MOST) * inside * (1.0 - free_11nn)
    red, blue = change.split(1, dim=1)
    gain = torch.cat([red, torch.zeros_like(red), blue], dim=1).exp()
    gain = gain * luminance(smooth) / luminance(smooth * gain).clamp_min(1e-4)
    return (albedo_13ss * resized(torch.where(inside > 0, gain, 1.0), albedo_13ss)).clamp(0.0, 1.0)
