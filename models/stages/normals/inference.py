"""Inference: predict tangent-space normals from the light-normalised texture."""

from dataclasses import replace

import torch

from mosar.models.losses import resized
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.normals.network import Normals
from mosar.models.vectors import unit


@torch.no_grad()
def infer(module: Normals, estimate: Estimate) -> Estimate:
    """Replace the flat normal map by the predicted normals, at the avatar's size."""
    texture = estimate.light_normalized_13hw
    small = resized(texture, texture.new_empty(1, 1, module.size, module.size))
    return replace(estimate, maps=replace(estimate.maps, normal=unit(resized(module(small), texture))))
