"""Hues of an albedo: skin is never green or blue, so where it seems so, the light was estimated wrongly."""

import math

import torch
from torch import Tensor

from mosar.models.colour import LUMINANCE
from mosar.models.losses import resized
from mosar.models.reconstruct.smooth import blur

_FURTHEST = math.log(1.5)
"""Greatest logarithm of a ratio of channels, over that of the person's skin. Grey beards are that far from red skin."""
_REACH = 2.0  # texels of the coarse map over which hues are compared, so that detail stays
_PLAIN = 0.85  # occlusion above which texels tell the person's hue
_LEAST = 50  # of these texels


def without_casts(albedo_13ss: Tensor, ao_11nn: Tensor, known_11nn: Tensor, free_11nn: Tensor) -> Tensor:
    """The albedo (1, 3, s, s), linear RGB, with hues near that of the person's open skin; its luminance stays.

    Where little light falls, its colour is hardly known, and the albedo gets the opposite one: a green rim under the
    chin, a yellow temple. Smooth ratios of red and of blue over green are limited. Where fewer than 50 open texels are
    known, nothing tells the person's hue, and the albedo stays as it is.

    Args:
        ao_11nn: occlusion by the person's geometry; 0 beside the chart; n texels a side of a coarse map.
        known_11nn: how well the photograph, or its mirror image, shows a texel.
        free_11nn: 1 where every hue is right, such as on lips.
    """
    inside = (ao_11nn > 0).to(albedo_13ss)
    open_hw = ((ao_11nn > _PLAIN) & (known_11nn > 0.5))[0, 0]
    if int(open_hw.sum()) < _LEAST:
        return albedo_13ss
    smooth = blur(resized(albedo_13ss, ao_11nn) * inside, _REACH) / blur(inside, _REACH).clamp_min(1e-3)
    log = smooth.clamp_min(1e-3).log()
    ratio = log[:, [0, 2]] - log[:, 1:2]
    usual_2 = ratio[0, :, open_hw].median(dim=1).values[None, :, None, None]
    change = (usual_2 + (ratio - usual_2).clamp(-_FURTHEST, _FURTHEST)) - ratio
    red, blue = (change * inside * (1.0 - free_11nn)).split(1, dim=1)
    gain = torch.cat([red, torch.zeros_like(red), blue], dim=1).exp()
    gain = gain * _luminance(smooth) / _luminance(smooth * gain).clamp_min(1e-4)
    return albedo_13ss * resized(torch.where(inside > 0, gain, 1.0), albedo_13ss)


def _luminance(linear_13nn: Tensor) -> Tensor:
    return torch.tensordot(linear_13nn.new_tensor(LUMINANCE), linear_13nn, dims=([0], [1]))[:, None]
