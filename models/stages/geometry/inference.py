"""Inference: the encoder's answers, refined by a fit to landmarks and shading."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn.functional import interpolate

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.reconstruct.shape_fit import fit_shapes
from mosar.models.stages.geometry.network import Geometry, Parameters
from mosar.models.stages.geometry.points_network import Seen


@torch.no_grad()
def infer_person(module: Geometry, estimates: Sequence[Estimate]) -> list[Estimate]:
    """Add the fit of one person to one or several photographs: meshes, one neutral mesh, cameras."""
    fits = fit_shapes(module, estimates, [_answer(module, estimate) for estimate in estimates])
    return [replace(estimate, fit=fit) for estimate, fit in zip(estimates, fits, strict=True)]


def _answer(module: Geometry, estimate: Estimate) -> Parameters:
    portrait, size = estimate.portrait, module.config.crop_size
    scale = size / estimate.settings.crop_size
    image = interpolate(portrait.crop_13hw, size=(size, size), mode="area")
    intrinsics = portrait.intrinsics_133.clone()
    intrinsics[:, :2] *= scale
    parameters, _ = module(image, Seen(portrait.points_1n3 * scale, portrait.scores_1e, intrinsics))
    return parameters
