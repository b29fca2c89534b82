"""Inference: the encoder's prediction, refined by a fit to the landmarks."""

from dataclasses import replace

import torch
from torch.nn.functional import interpolate

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.reconstruct.refine import refine
from mosar.models.stages.geometry.network import Geometry


def infer(module: Geometry, estimate: Estimate) -> Estimate:
    """Add the fit: mesh, neutral mesh and camera."""
    portrait, settings, size = estimate.portrait, estimate.settings, module.config.crop_size
    with torch.no_grad():
        image = interpolate(portrait.crop_13hw, size=(size, size), mode="area")
        start = module(image, portrait.landmarks_1n2 / settings.crop_size)
    fit = refine(
        estimate.head,
        module.morphable,
        start,
        portrait.landmarks_1n2,
        portrait.intrinsics_133,
        settings.crop_size,
        settings.refine_steps,
    )
    return replace(estimate, fit=fit)
