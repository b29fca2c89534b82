"""Inference: predict tangent-space normals from the light-normalised texture."""

from dataclasses import replace

import torch

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.normals.network import Normals


@torch.no_grad()
def infer(module: Normals, estimate: Estimate) -> Estimate:
    """Replace the flat normal map by the predicted normals."""
    return replace(estimate, maps=replace(estimate.maps, normal=module(estimate.light_normalized_13hw)))
