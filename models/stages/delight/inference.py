"""Inference: the completed texture under white light from everywhere."""

from dataclasses import replace

import torch

from mosar.models.losses import resized
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.delight.network import Delight


@torch.no_grad()
def infer(module: Delight, estimate: Estimate) -> Estimate:
    """Add the light-normalised texture at the avatar's size."""
    texture, light = estimate.texture_13hw, estimate.lighting
    grid = module.grid(texture, light.resized(texture), resized(estimate.filled.known_b1hw, texture))
    even = module.corrected(grid, light.resized(texture).even(texture)).clamp_(0.0, 1.0)
    return replace(estimate, light_normalized_13hw=even)
