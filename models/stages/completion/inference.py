"""Inference: unwrap the photograph onto the chart and fill in what it does not show."""

from dataclasses import replace

import torch
from torch import Tensor

from mosar.models.colour import to_linear
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.completion.network import Completion
from mosar.models.texture_space import shading
from mosar.models.uv import chart, surface, unwrap


@torch.no_grad()
def infer(module: Completion, estimate: Estimate) -> Estimate:
    """Add the surface, the unwrapped photograph, its shading and the completed texture."""
    skin = surface(chart(estimate.head, estimate.settings.map_size), estimate.head, estimate.fit.mesh_1v3)
    seen, known = _unwrapped(estimate)
    shade = shading(estimate.fit.parameters.light_b81c, skin.normal_b3hw)
    texture = module(seen, known, shade)
    return replace(estimate, surface=skin, seen_13hw=seen, known_11hw=known, shading_13hw=shade, texture_13hw=texture)


def _unwrapped(estimate: Estimate) -> tuple[Tensor, Tensor]:
    """The photograph's skin on the chart (1, 3, s, s), linear, and the mask of known texels (1, 1, s, s)."""
    portrait, fit = estimate.portrait, estimate.fit
    picture = torch.cat([to_linear(portrait.crop_13hw), portrait.skin_11hw.float()], dim=1)
    texture, visible = unwrap(picture, estimate.head, fit.mesh_1v3, fit.camera, estimate.settings.map_size)
    known = (visible.float() > 0.5) & (texture[:, 3:] > 0.99)
    return texture[:, :3] * known, known.float()
