"""Align detected points to a reference shape: what remains tells the person and the expression, and not the view.

Legend: b batch, n points.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.precision import full_precision

_ROUNDS = 6


@dataclass(frozen=True)
class Aligned:
    """Points after the similarity that brings them nearest to a reference, and the similarity.

    Attributes:
        points_bn3: in the frame and unit of the reference.
        rotation_b33: turns the reference's frame to that of the measured points.
        scale_b: length of the reference's unit among the measured points.
        centre_b3: mean of the measured points.
    """

    points_bn3: Tensor
    rotation_b33: Tensor
    scale_b: Tensor
    centre_b3: Tensor


@torch.no_grad()
@full_precision
def align(points_bn3: Tensor, reference_n3: Tensor) -> Aligned:
    """Fit by least squares (Umeyama 1991). The reference has zero mean. Points without extent get the scale 1."""
    centre_b3 = points_bn3.mean(dim=1)
    moved = points_bn3 - centre_b3[:, None]
    u, singular_b3, vt = torch.linalg.svd(moved.mT @ reference_n3)
    sign_b3 = torch.ones_like(singular_b3)
    sign_b3[:, 2] = torch.linalg.det(u @ vt).sign()
    rotation = (u * sign_b3[:, None]) @ vt
    scale = (singular_b3 * sign_b3).sum(dim=1) / reference_n3.square().sum()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return Aligned((moved @ rotation) / scale[:, None, None], rotation, scale, centre_b3)


def average_shape(points_bn3: Tensor, start_n3: Tensor) -> Tensor:
    """Mean of shapes after alignment to it (generalised Procrustes): zero mean, unit root mean square length.

    Args:
        start_n3: decides the frame.
    """
    reference = _normalised(start_n3)
    for _ in range(_ROUNDS):
        reference = _normalised(align(points_bn3, reference).points_bn3.mean(dim=0))
    return reference


def _normalised(points_n3: Tensor) -> Tensor:
    moved = points_n3 - points_n3.mean(dim=0)
    return moved / moved.square().sum(dim=1).mean().sqrt()
