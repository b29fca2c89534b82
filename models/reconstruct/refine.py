"""The fit to the landmarks of one photograph, starting from the encoder's answer.

Unknowns: pose, focal length, the codes of the morphable model and, as small corrections, the head's local identity
modes and the morph targets of its expressions on the predicted person. The encoder's answer with its uncertainty is the
prior of the codes. Landmarks are measured with the errors of the detector, which are correlated: the joint model of
these errors, learnt with the encoder, says how much they tell.
"""

import weakref
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mosar.models.camera import Camera
from mosar.models.head import Head
from mosar.models.head.identity_sampling import scan_modes
from mosar.models.head.lips import close_lips
from mosar.models.head.morph import landmarks, morph_targets
from mosar.models.morphable.detected_fit import Array, LandmarkModel, Pose, embedded, fit_detected, linear_landmarks
from mosar.models.morphable.network import Morphable
from mosar.models.stages.geometry.network import Geometry, Parameters, camera_of, image_position
from mosar.models.stages.geometry.points_network import Normal

FOCAL = 0.3
"""Deviation of the logarithm of an assumed focal length: nine of ten lie within a factor of 1.6."""
CORRECTION = 0.5  # prior standard deviation of the corrections, in units of the head's own deviations
_EXPRESSION = 0.5  # the head's own deviation of an expression's weight
_ROUNDS = 2  # of linearising the decoder


@dataclass(frozen=True)
class Fit:
    """Refined parameters, the mesh and the neutral mesh (1, v, 3) in mm, and the camera in pixels of the crop.

    ``precision_kk``: inverse covariance of the identity codes, given the encoder's answer and the landmarks. ``start``
    and ``end`` are the negative log posterior before and after the fit.
    """

    parameters: Parameters
    mesh_1v3: Tensor
    neutral_1v3: Tensor
    camera: Camera
    precision_kk: Tensor
    start: float
    end: float


@torch.no_grad()
def refine(
    head: Head,
    module: Geometry,
    start: Parameters,
    landmarks_1n2: Tensor,
    intrinsics_133: Tensor,
    crop_size: int,
    steps: int = 8,
    weight: float = 1.0,
    pose: Camera | None = None,
) -> Fit:
    """Find the mode of the posterior; never worse than the start.

    Args:
        start: the encoder's answer, batch of one.
        landmarks_1n2: measured points, pixels of the crop.
        intrinsics_133: of the crop; the focal length is a guess.
        steps: of each of two linearisations; 0 returns the start.
        weight: factor on the inverse covariance of the landmarks, which the encoder has seen already.
        pose: camera to start from; default: the encoder's.
    """
    morphable = module.morphable
    local = ~scan_modes(head)  # the codes carry the scans' modes already
    like = morphable.average()
    modes = CORRECTION * torch.from_numpy(head.mode_std_m[local, None, None] * head.modes_mv3[local]).to(like)
    person = morphable.decode(start.identity_bk, morphable.neutral_code())
    expressions = CORRECTION * _EXPRESSION * morph_targets(head, person)
    offsets = torch.cat([modes, expressions]).to(like)
    chosen = embedded(head)
    offset_cl3 = landmarks(head, offsets)[:, chosen].double().cpu().numpy()  # landmarks are linear in the offsets
    basis_cl3 = np.concatenate([_linear(head, morphable), offset_cl3])
    identity, expression = start.identity, start.expression
    variance = torch.cat([identity.log_variance_bk, expression.log_variance_bk], dim=1)[0].exp().double().cpu().numpy()
    precision_cc = np.diag(np.concatenate([1.0 / variance, np.ones(len(offsets))]))
    first_k = torch.cat([start.identity_bk, start.expression_bk], dim=1)
    measured_l2 = landmarks_1n2[0, chosen].double().cpu().numpy()
    intrinsics = intrinsics_133[0].double().cpu().numpy()
    camera = pose or camera_of(start.rotation_b33, start.image_position_b3, intrinsics_133, crop_size)
    rotation, translation = (x[0].double().cpu().numpy() for x in (camera.rotation_b33, camera.translation_b3))
    at = Pose(rotation, translation, float(camera.intrinsics_b33[0, 0, 0]))
    sizes = first_k.shape[1], len(modes)
    change_c = np.zeros(len(basis_cl3))
    values: list[float] = []
    for _ in range(_ROUNDS if steps else 1):
        codes = first_k + torch.from_numpy(change_c[: sizes[0]]).to(first_k)
        points_l3 = landmarks(head, morphable.decode(*_split(codes, start)))[0, chosen].double().cpu().numpy()
        mean_l3 = points_l3 - np.tensordot(change_c[: sizes[0]], basis_cl3[: sizes[0]], 1)
        model = LandmarkModel(chosen, mean_l3, basis_cl3, np.zeros(len(basis_cl3)), precision_cc)
        fit = fit_detected(model, module.error, measured_l2, intrinsics, weight, FOCAL, at, steps, change_c)
        change_c, at = fit.code_c, fit.pose
        values += [fit.start, fit.end]
    found_k = _split(first_k + torch.from_numpy(change_c[: sizes[0]]).to(first_k), start)
    told = torch.from_numpy(change_c[sizes[0] :]).to(like)
    shaped = torch.tensordot(told[: sizes[1]], offsets[: sizes[1]], dims=1)
    moved = torch.tensordot(told[sizes[1] :], offsets[sizes[1] :], dims=1)
    k_133 = intrinsics_133.clone()
    k_133[:, 0, 0] = k_133[:, 1, 1] = at.focal
    camera = Camera(k_133, _tensor(at.rotation_33, like), _tensor(at.translation_3, like))
    found = Parameters(
        Normal(found_k[0], identity.log_variance_bk),
        Normal(found_k[1], expression.log_variance_bk),
        start.reflectance_bk,
        start.light_b81c,
        camera.rotation_b33,
        image_position(camera, crop_size),
    )
    precision = torch.from_numpy(fit.precision(start.identity_bk.shape[1])).to(like)
    neutral = close_lips(head, morphable.decode(found_k[0], morphable.neutral_code()) + shaped)
    return Fit(found, morphable.decode(*found_k) + shaped + moved, neutral, camera, precision, values[0], values[-1])


def _split(codes_1k: Tensor, like: Parameters) -> tuple[Tensor, Tensor]:
    identity, expression = codes_1k.split([like.identity_bk.shape[1], like.expression_bk.shape[1]], dim=1)
    return identity, expression


def _tensor(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(array)[None].to(like)


_KNOWN: "weakref.WeakKeyDictionary[Morphable, Array]" = weakref.WeakKeyDictionary()


def _linear(head: Head, morphable: Morphable) -> Array:
    """Change (c, l, 3) of the landmarks for each code; the same for all photographs of a model."""
    if morphable not in _KNOWN:
        _KNOWN[morphable] = linear_landmarks(head, morphable)[1]
    return _KNOWN[morphable]
