"""Inference: the encoder's answer, refined by a fit to the landmarks."""

from dataclasses import replace

import torch
from torch.nn.functional import interpolate

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.reconstruct.refine import refine
from mosar.models.stages.geometry.network import Geometry
from mosar.models.stages.geometry.points_network import Seen


@torch.no_grad()
def infer(module: Geometry, estimate: Estimate) -> Estimate:
    """Add the fit: mesh, neutral mesh and camera."""
    portrait, settings, size = estimate.portrait, estimate.settings, module.config.crop_size
    scale = size / settings.crop_size
    image = interpolate(portrait.crop_13hw, size=(size, size), mode="area")
    intrinsics = portrait.intrinsics_133.clone()
    intrinsics[:, :2] *= scale
    start, _ = module(image, Seen(portrait.points_1n3 * scale, portrait.scores_1e, intrinsics))
    fit = refine(
        estimate.head,
        module,
        start,
        portrait.landmarks_1n2,
        portrait.intrinsics_133,
        settings.crop_size,
        settings.fit_steps,
    )
    return replace(estimate, fit=fit)
