"""Inference: split the light-normalised texture into diffuse, specular, occlusion and translucency."""

from dataclasses import replace

import torch
from torch.nn.functional import max_pool2d

from mosar.models.losses import resized
from mosar.models.reconstruct.creases import without_glow
from mosar.models.reconstruct.estimate import Estimate, Maps
from mosar.models.reconstruct.hues import REACH, without_casts
from mosar.models.reconstruct.own_occlusion import own_occlusion
from mosar.models.reconstruct.thin_parts import thinner
from mosar.models.stages.intrinsics.network import OPEN, SCALARS, IntrinsicsNetwork
from mosar.models.uv import texels_of

SMALLEST = 256
"""Texels a side of the scalar maps, at least."""


@torch.no_grad()
def infer(module: IntrinsicsNetwork, estimate: Estimate) -> Estimate:
    """Add the maps: albedo and confidence at the avatar's size, the others at the network's, but at least 256 texels.

    The normal map is flat. The albedo was divided by an occlusion of at least ``OPEN``, so the map has no less: where
    the photograph is dark for another reason, it would be darkened twice. In creases the albedo is limited
    (:mod:`~mosar.models.reconstruct.creases`), and everywhere its hue (:mod:`~mosar.models.reconstruct.hues`). The
    network's translucency is that of the average head with this skin; the person's own thin parts are added.
    """
    texture, filled = estimate.light_normalized_13hw, estimate.filled
    small = resized(texture, texture.new_empty(1, 1, estimate.settings.map_size, estimate.settings.map_size))
    whole = own_occlusion(estimate.head, estimate.ao_11hw, module.mean_scalars_13hw[:, SCALARS.index("ao"), None])
    ao = resized(whole, small)
    size = max(SMALLEST, estimate.settings.map_size)
    fine = resized(whole, ao.new_empty(1, 1, size, size))
    specular, translucency = module.scalars(small, ao, fine)
    diffuse = module.albedo(module.grid(small, ao), texture, resized(whole, texture)).clamp_(0.0, 1.0)
    known = resized((filled.known_b1hw + filled.mirrored_b1hw).clamp(0.0, 1.0), fine)
    diffuse = without_glow(diffuse, fine, resized(module.mean_diffuse_13hw, fine), known)
    lips, around = texels_of(estimate.head, estimate.head.region("lips"), size), round(3 * REACH * size)
    free = max_pool2d(lips.to(fine)[None, None], 2 * around + 1, stride=1, padding=around)
    diffuse = without_casts(diffuse, fine, known, free)
    flat = torch.zeros_like(texture)
    flat[:, 2] = 1.0
    maps = Maps(
        diffuse=diffuse,
        specular=specular,
        ao=fine.clamp_min(OPEN),
        translucency=(translucency + resized(thinner(estimate.head, estimate.fit.mesh_1v3), fine)).clamp_(0.0, 1.0),
        normal=flat,
        confidence=filled.known_b1hw + 0.5 * filled.mirrored_b1hw,
    )
    return replace(estimate, maps=maps)
