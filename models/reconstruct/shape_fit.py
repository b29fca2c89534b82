"""The shape of one photograph: the landmarks' fit, then the shading, then the landmarks again.

The identity is found from the encoder's answer, the landmarks and the shading. Landmarks count little there, because
the encoder has seen them. Then the posed mesh is brought onto the landmarks with this identity, so that the texture is
read where it is.
"""

from dataclasses import replace

import torch
from torch import Tensor

from mosar.models.reconstruct.estimate import Estimate, Portrait
from mosar.models.reconstruct.light import explain, gloss, open_texels, seen_texels
from mosar.models.reconstruct.refine import Fit, refine
from mosar.models.reconstruct.seen import BASE, look
from mosar.models.reconstruct.shading_fit import Observed, fit_shading
from mosar.models.stages.geometry.network import Geometry, Parameters
from mosar.models.stages.geometry.points_network import Normal

LANDMARKS = 0.1
"""Factor on the inverse covariance of the landmarks while the identity is found."""
_FIXED = -12.0  # logarithm of the variance of codes that are known
_LEAST = 200  # seen texels below which the shading tells nothing


@torch.no_grad()
def fit_shape(module: Geometry, estimate: Estimate, start: Parameters) -> Fit:
    """Fit the shape; never worse than the start. ``start``: the encoder's answer."""
    head, portrait, settings = estimate.head, estimate.portrait, estimate.settings
    measured = portrait.landmarks_1n2, portrait.intrinsics_133, settings.crop_size
    first = refine(head, module, start, *measured, settings.fit_steps, LANDMARKS)
    if settings.fit_steps == 0:
        return first
    identity = _through_shading(module, replace(estimate, fit=first), first)
    known = Normal(identity, torch.full_like(identity, _FIXED))
    told = replace(start, identity=known)
    last = refine(head, module, told, *measured, settings.fit_steps, 1.0, first.camera)
    parameters = replace(last.parameters, identity=Normal(identity, first.parameters.identity.log_variance_bk))
    return replace(last, parameters=parameters, precision_kk=first.precision_kk, start=first.start)


def _through_shading(module: Geometry, estimate: Estimate, fit: Fit) -> Tensor:
    """The identity codes (1, k) that also explain the shading."""
    head, morphable = estimate.head, module.morphable
    ao = open_texels(head, fit.mesh_1v3)
    seen = look(head, _crop_alone(estimate.portrait), fit.mesh_1v3, fit.camera, BASE)
    texels = seen_texels(estimate, morphable.config.texture_size, seen, ao)
    if len(texels.index) < _LEAST:
        return fit.parameters.identity_bk
    found = explain(estimate, morphable, texels)
    matt = (texels.colour_1n3[0] - gloss(texels, found.light_1lc)).clamp_min(1e-4)
    observed = Observed(texels.index, matt, texels.ao_1n1[0], texels.weight_n)
    return fit_shading(
        head,
        morphable,
        fit.mesh_1v3,
        fit.parameters.identity_bk,
        fit.precision_kk,
        fit.parameters.expression_bk,
        observed,
        found.light_1lc,
        found.code_1k,
    ).identity_1i


def _crop_alone(portrait: Portrait) -> Portrait:
    """The crop as a photograph: its detail is enough, and its size bounds the time."""
    size = portrait.crop_13hw.shape[-1]
    pixels = (portrait.crop_13hw[0].permute(1, 2, 0) * 255.0 + 0.5).clamp(0.0, 255.0).byte()
    whole = torch.eye(3).to(portrait.to_crop_133)[None]
    return replace(portrait, photograph_hw3=pixels, to_crop_133=whole, width=size, height=size)
