"""The shape of one photograph: the landmarks' fit, then the shading, then the landmarks again.

The identity is found from the encoder's answer, the landmarks and the shading. Landmarks count little there, because
the encoder has seen them. Then the posed mesh is brought onto the landmarks with this identity, so that the texture is
read where it is.
"""

from dataclasses import replace

import torch
from torch import Tensor

from mosar.models.head.lips import close_lips
from mosar.models.morphable.detector_error import DetectorError
from mosar.models.reconstruct.estimate import Estimate, Portrait
from mosar.models.reconstruct.light import explain, gloss, open_texels, seen_texels
from mosar.models.reconstruct.refine import Fit, refine
from mosar.models.reconstruct.seen import BASE, look
from mosar.models.reconstruct.shading_fit import Observed, fit_shading
from mosar.models.stages.geometry.network import Geometry, Parameters
from mosar.models.stages.geometry.points_network import Normal

LANDMARKS = 0.02
"""Factor on the inverse covariance of the landmarks while the identity is found. On 32 path traced captures of people
who trained nothing, factors of 0.02, 0.1 and 0.3 left 0.846, 0.854 and 0.873 of the average head's error."""
_FIXED = -12.0  # logarithm of the variance of codes that are known
_SHARED = 0.5
"""Factor on the correlated errors of the landmarks while the mesh is brought onto them: what the detector does to a
whole region may well be true of this photograph. The distance of face recognition from photograph to avatar under other
lights, relative to other people's, is 0.582 on 15 portraits with this factor, 0.589 with 1, 0.607 with 1 and no mean
field, and 0.620 with independent errors."""
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
    last = refine(head, module, told, *measured, settings.fit_steps, 1.0, first.camera, _alignment_error(module.error))
    # Corrections follow the detector's habits: they belong to the posed mesh, and not to the person.
    neutral = close_lips(head, module.morphable.decode(identity, module.morphable.neutral_code()))
    parameters = replace(last.parameters, identity=Normal(identity, first.parameters.identity.log_variance_bk))
    return replace(last, parameters=parameters, neutral_1v3=neutral, precision_kk=first.precision_kk, start=first.start)


def _alignment_error(joint: DetectorError) -> DetectorError:
    """The joint model with smaller correlated errors."""
    found = DetectorError(len(joint.own_d) // 2, len(joint.shared_kd)).to(joint.own_d.device)
    found.load_state_dict({**joint.state_dict(), "shared_kd": _SHARED * joint.shared_kd})
    return found


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
