"""Inference: split the light-normalised texture into diffuse, specular, occlusion and translucency."""

from dataclasses import replace

import torch

from mosar.models.reconstruct.estimate import Estimate, Maps
from mosar.models.stages.intrinsics.network import IntrinsicsNetwork
from mosar.models.texture_space import fill


@torch.no_grad()
def infer(module: IntrinsicsNetwork, estimate: Estimate) -> Estimate:
    """Add the maps; the normal map is flat."""
    parts = module(estimate.light_normalized_13hw)
    flat = torch.zeros_like(parts.diffuse_b3hw)
    flat[:, 2] = 1.0
    maps = Maps(
        diffuse=parts.diffuse_b3hw,
        specular=parts.specular_b1hw,
        ao=parts.ao_b1hw,
        translucency=parts.translucency_b1hw,
        normal=flat,
        confidence=_confidence(estimate),
    )
    return replace(estimate, maps=maps)


def _confidence(estimate: Estimate) -> torch.Tensor:
    """1 where the photograph shows the texel, 0.5 where it shows the mirrored texel, else 0."""
    known = estimate.known_11hw
    mirrored = fill(estimate.seen_13hw, known).mirrored_b1hw
    return torch.where(known > 0.5, known, 0.5 * (mirrored > 0.5))
