"""Inference: the encoder's answer, refined by a fit to landmarks and shading."""

from dataclasses import replace

import torch
from torch.nn.functional import interpolate

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.reconstruct.shape_fit import fit_shape
from mosar.models.stages.geometry.network import Geometry
from mosar.models.stages.geometry.points_network import Seen


@torch.no_grad()
def infer(module: Geometry, estimate: Estimate) -> Estimate:
    """Add the fit: mesh, neutral mesh and camera."""
    portrait, size = estimate.portrait, module.config.crop_size
    scale = size / estimate.settings.crop_size
    image = interpolate(portrait.crop_13hw, size=(size, size), mode="area")
    intrinsics = portrait.intrinsics_133.clone()
    intrinsics[:, :2] *= scale
    start, _ = module(image, Seen(portrait.points_1n3 * scale, portrait.scores_1e, intrinsics))
    return replace(estimate, fit=fit_shape(module, estimate, start))
