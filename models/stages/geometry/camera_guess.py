"""Cameras that a photograph of unknown origin would be given: the focal length and the middle of the image are guessed.

Shapes: b batch.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mosar.models.face_outlines import FACE_MM

DISTANCE_MM = (700.0, 1400.0)
"""Distances that :func:`mosar.datasets.crop.assumed_intrinsics` gives most photographs."""
_ASIDE = 0.25  # deviation of the photograph's middle from the face's, in crop sides


def guess(sample: Mapping[str, Tensor], crop_size: int, share: float, generator: torch.Generator | None) -> Tensor:
    """Intrinsics (b, 3, 3) of labelled crops: guessed ones for a share of them, the true ones for the others.

    Args:
        generator: of the guesses; None: every crop is taken for a photograph of its own, from the nearest distance.
    """
    points = sample["detected"][..., :2]
    found = sample["found"].flatten() > 0.5
    face = (points.amax(dim=1) - points.amin(dim=1)).amax(dim=1).where(found, points.new_tensor(crop_size / 2.0))
    count, low = len(face), math.log(DISTANCE_MM[0])
    aside, distance, chosen = face.new_zeros(count, 2), face.new_full((count,), low), torch.ones_like(found)
    if generator is not None:
        drawn = torch.rand(count, 2, generator=generator, device=generator.device).to(face)
        distance = low + drawn[:, 0] * (math.log(DISTANCE_MM[1]) - low)
        chosen = drawn[:, 1] < share
        aside = _ASIDE * torch.randn(count, 2, generator=generator, device=generator.device).to(face)
    guessed = torch.zeros_like(sample["intrinsics"])
    guessed[:, 0, 0] = guessed[:, 1, 1] = distance.exp() * face / FACE_MM
    guessed[:, :2, 2] = (0.5 + aside) * crop_size
    guessed[:, 2, 2] = 1.0
    return torch.where(chosen[:, None, None], guessed, sample["intrinsics"])
