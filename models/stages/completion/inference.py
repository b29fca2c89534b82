"""Inference: complete the unwrapped photograph where it does not show the skin."""

from dataclasses import replace

import torch

from mosar.models.colour import to_linear, to_srgb
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.completion.network import Completion
from mosar.models.texture_space import fill_large


@torch.no_grad()
def infer(module: Completion, estimate: Estimate) -> Estimate:
    """Add the completed texture, lit as in the photograph, at the avatar's size, and the sources of its texels."""
    seen, light = estimate.seen, estimate.lighting
    small = module.fill(seen.small_colour_13hw, seen.small_weight_11hw, light)
    whole = light.resized(seen.colour_13hw)
    even = to_srgb(whole.even(seen.colour_13hw).clamp_(0.0, 1.0))
    filled = fill_large(even, seen.weight_11hw, small)
    lit = whole.lit(to_linear(filled.texture_bchw))
    del even, whole
    grid = module.grid(small, light)
    texture = module.corrected(grid, lit, filled.known_b1hw).clamp_(0.0)
    return replace(estimate, filled=filled, texture_13hw=texture)
