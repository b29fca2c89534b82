"""Albedo in creases: an occlusion that the light of the photograph did not have makes it too bright there.

The occlusion of a mesh is that of light from everywhere. Light from the front reaches the corners of the eyes and the
wings of the nose nevertheless, and light that goes to and fro in a crease makes it brighter and redder. Divided by the
occlusion, such places would glow. Shapes: n texels a side of a coarse map, s of the albedo; linear RGB.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mosar.models.losses import resized
from mosar.models.reconstruct.open_skin import open_skin

_MOST = 1.1  # times the average skin in the person's colour, in the deepest creases
_DEEP, _OPEN = 0.7, 0.95  # occlusion of places where the limit holds wholly, and where it no longer matters
_LOOSE = 3.0  # by how much the limit is higher there
_REACH = 2  # texels of the coarse map over which colours are compared, so that detail stays


def without_glow(albedo_13ss: Tensor, ao_11nn: Tensor, average_13nn: Tensor, known_11nn: Tensor) -> Tensor:
    """The albedo (1, 3, s, s), in creases not brighter than average skin in the person's colour allows.

    Each channel has its own limit, so that creases are not too red either. The albedo stays as it is where
    :func:`~mosar.models.reconstruct.open_skin.open_skin` finds nothing.

    Args:
        ao_11nn: occlusion by the person's geometry, by which the albedo was divided; 0 beside the chart.
        average_13nn: average albedo of the training captures.
        known_11nn: how well the photograph, or its mirror image, shows a texel.
    """
    albedo, average = resized(albedo_13ss, ao_11nn), average_13nn.clamp_min(0.01)
    open_hw = open_skin(ao_11nn, known_11nn)
    if open_hw is None:
        return albedo_13ss
    gain_3 = (albedo / average)[0, :, open_hw].median(dim=1).values
    inside = (ao_11nn > 0).to(albedo)
    limit = _MOST + _LOOSE * ((ao_11nn - _DEEP) / (_OPEN - _DEEP)).clamp(0.0, 1.0)
    most = limit * _smooth(gain_3[:, None, None] * average * inside)
    scale = (most / _smooth(albedo * inside).clamp_min(1e-3)).clamp_max(1.0)
    # Beside the chart nothing limits anything.
    return albedo_13ss * resized(torch.where(inside > 0, scale, 1.0), albedo_13ss)


def _smooth(map_13nn: Tensor) -> Tensor:
    return avg_pool2d(map_13nn, 2 * _REACH + 1, stride=1, padding=_REACH)
