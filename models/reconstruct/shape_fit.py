"""The shape of one person: the landmarks' fit, then the shading, then the landmarks again.

The identity is found from the encoder's answers, the landmarks and the shading of all photographs of the person.
Landmarks count little there, because the encoder has seen them. Then the posed mesh is brought onto the landmarks with
this identity, so that the texture is read where it is.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mosar.models.camera import Camera
from mosar.models.head.lips import close_lips
from mosar.models.morphable.detector_error import DetectorError
from mosar.models.reconstruct.budget import Budget
from mosar.models.reconstruct.budget import budget as budget_of
from mosar.models.reconstruct.estimate import Estimate, Portrait
from mosar.models.reconstruct.identity_belief import Belief, add, together
from mosar.models.reconstruct.light import explain, gloss, open_texels, seen_texels
from mosar.models.reconstruct.refine import FOCAL, RECORDED_FOCAL, Fit, refine
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
def fit_shapes(module: Geometry, estimates: Sequence[Estimate], starts: Sequence[Parameters]) -> list[Fit]:
    """Fit one person to one or several photographs, each with a pose, an expression and a light of its own.

    Never worse than the start. The budget of the first estimate's settings is that of all of them. When its time is
    spent, what is left of the landmarks' fit and the shading are left out, and the mesh is still brought onto the
    landmarks.

    Args:
        starts: the encoder's answers.
    """
    settings = estimates[0].settings
    budget = budget_of(settings.fit_steps, settings.fit_seconds)
    prior = together([start.identity for start in starts])
    told = [replace(start, identity=prior) for start in starts]
    first = [_landmarks(module, e, start, budget, LANDMARKS) for e, start in zip(estimates, told, strict=True)]
    if budget.steps == 0:
        return first  # without corrections, the photographs of one person have one neutral mesh already
    ended_early = any(fit.ended_early for fit in first)
    belief = add(prior, [Belief(fit.parameters.identity_bk, fit.precision_kk) for fit in first])
    for estimate, fit in zip(estimates, first, strict=True):
        ended_early |= budget.spent
        if not budget.spent:
            belief = _through_shading(module, estimate, fit, belief)
    identity = belief.mean_1k
    known = Normal(identity, torch.full_like(identity, _FIXED))
    # Corrections follow the detector's habits: they belong to the posed mesh, and not to the person.
    neutral = close_lips(estimates[0].head, module.morphable.decode(identity, module.morphable.neutral_code()))
    person = Normal(identity, prior.log_variance_bk)
    found = []
    for estimate, start, fit in zip(estimates, told, first, strict=True):
        aligned = replace(start, identity=known)
        whole = Budget(budget.steps)  # a mesh beside the landmarks would read the texture where it is not
        last = _landmarks(module, estimate, aligned, whole, 1.0, fit.camera, _alignment_error(module.error))
        parameters = replace(last.parameters, identity=person)
        found.append(
            replace(
                last,
                parameters=parameters,
                neutral_1v3=neutral,
                precision_kk=belief.precision_kk,
                start=fit.start,
                ended_early=ended_early,
            )
        )
    return found


def _landmarks(
    module: Geometry,
    estimate: Estimate,
    start: Parameters,
    budget: Budget,
    weight: float,
    camera: Camera | None = None,
    error: DetectorError | None = None,
) -> Fit:
    portrait, size = estimate.portrait, estimate.settings.crop_size
    measured = portrait.landmarks_1n2, portrait.intrinsics_133
    focal = RECORDED_FOCAL if portrait.focal_known else FOCAL
    return refine(estimate.head, module, start, *measured, size, budget, weight, camera, error, focal)


def _alignment_error(joint: DetectorError) -> DetectorError:
    """The joint model with smaller correlated errors."""
    found = DetectorError(len(joint.own_d) // 2, len(joint.shared_kd)).to(joint.own_d.device)
    found.load_state_dict({**joint.state_dict(), "shared_kd": _SHARED * joint.shared_kd})
    return found


def _through_shading(module: Geometry, estimate: Estimate, fit: Fit, belief: Belief) -> Belief:
    """What is believed of the identity when the shading of one more photograph is explained as well."""
    head, morphable = estimate.head, module.morphable
    expression = fit.parameters.expression_bk
    change = morphable.decode(belief.mean_1k, expression) - morphable.decode(fit.parameters.identity_bk, expression)
    fit = replace(fit, mesh_1v3=fit.mesh_1v3 + change)
    estimate = replace(estimate, fit=fit)
    ao = open_texels(head, fit.mesh_1v3)
    seen = look(head, _crop_alone(estimate.portrait), fit.mesh_1v3, fit.camera, BASE)
    texels = seen_texels(estimate, morphable.config.texture_size, seen, ao)
    if len(texels.index) < _LEAST:
        return belief
    found = explain(estimate, morphable, texels)
    matt = (texels.colour_1n3[0] - gloss(texels, found.light_1lc)).clamp_min(1e-4)
    observed = Observed(texels.index, matt, texels.ao_1n1[0], texels.weight_n)
    told = fit_shading(head, morphable, fit.mesh_1v3, belief, expression, observed, found.light_1lc, found.code_1k)
    return told.belief


def _crop_alone(portrait: Portrait) -> Portrait:
    """The crop as a photograph: its detail is enough, and its size bounds the time."""
    size = portrait.crop_13hw.shape[-1]
    pixels = (portrait.crop_13hw[0].permute(1, 2, 0) * 255.0 + 0.5).clamp(0.0, 255.0).byte()
    whole = torch.eye(3).to(portrait.to_crop_133)[None]
    return replace(portrait, photograph_hw3=pixels, to_crop_133=whole, width=size, height=size)
