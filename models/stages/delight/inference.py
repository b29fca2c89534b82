"""Inference: the completed texture under white light from everywhere."""

from dataclasses import replace

import torch

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.delight.network import Delight


@torch.no_grad()
def infer(module: Delight, estimate: Estimate) -> Estimate:
    """Add the light-normalised texture."""
    return replace(estimate, light_normalized_13hw=module(estimate.texture_13hw, estimate.shading_13hw))
