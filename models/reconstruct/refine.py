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
from mosar.models.morphable.detector_error import DetectorError
from mosar.models.morphable.network import Morphable
from mosar.models.reconstruct.budget import Budget
from mosar.models.stages.geometry.network import Geometry, Parameters, camera_of, image_position
from mosar.models.stages.geometry.points_network import Normal

FOCAL = 0.3
"""Deviation of the logarithm of an assumed focal length: nine of ten lie within a factor of 1.6."""
RECORDED_FOCAL = 0.1
"""Deviation of the logarithm of a focal length that the camera recorded: it is rounded to millimetres, focusing on a
near face changes it, and the picture may have been cropped a little since."""
CORRECTION = 0.5  # prior standard deviation of the corrections, in units of the head's own deviations
_EXPRESSION = 0.5  # the head's own deviation of an expression's weight
_EIGHT = Budget(8)
_ROUNDS = 2  # of linearising the decoder


@dataclass(frozen=True)
class Fit:
    """Refined parameters, the mesh and the neutral mesh (1, v, 3) in mm, and the camera in pixels of the crop.

    ``precision_kk``: inverse covariance of the identity codes, given the encoder's answer and the landmarks. ``start``
    and ``end`` are the negative log posterior before and after the fit. ``ended_early``: whether time ran out before
    the steps did.
    """

    parameters: Parameters
    mesh_1v3: Tensor
    neutral_1v3: Tensor
    camera: Camera
    precision_kk: Tensor
    start: float
    end: float
    ended_early: bool = False


@torch.no_grad()
def refine(
    head: Head,
    module: Geometry,
    start: Parameters,
    landmarks_1n2: Tensor,
    intrinsics_133: Tensor,
    crop_size: int,
    budget: Budget = _EIGHT,
    weight: float = 1.0,
    camera: Camera | None = None,
    error: DetectorError | None = None,
    focal_deviation: float = FOCAL,
) -> Fit:
    """Find the mode of the posterior; never worse than the start.

    Args:
        start: the encoder's answer, batch of one.
        landmarks_1n2: measured points, pixels of the crop.
        intrinsics_133: of the crop.
        budget: steps of each of two linearisations; 0 returns the start.
        weight: factor on the inverse covariance of the landmarks, which the encoder has seen already.
        camera: to start from; default: the encoder's.
        error: model of the landmarks' errors; default: the joint one of the encoder.
        focal_deviation: of the logarithm of the focal length about that of the intrinsics.
    """
    unknown = _unknowns(head, module.morphable, start)
    chosen = embedded(head)
    measured_l2, intrinsics = (x[0].double().cpu().numpy() for x in (landmarks_1n2[:, chosen], intrinsics_133))
    camera = camera or camera_of(start.rotation_b33, start.image_position_b3, intrinsics_133, crop_size)
    pose = _pose(camera)
    change_c = np.zeros(len(unknown.basis_cl3))
    values: list[float] = []
    ended_early = False
    for _ in range(_ROUNDS if budget.steps else 1):
        points_l3 = landmarks(head, module.morphable.decode(*unknown.codes(change_c)))[0, chosen].double().cpu().numpy()
        count = unknown.first_1k.shape[1]
        mean_l3 = points_l3 - np.tensordot(change_c[:count], unknown.basis_cl3[:count], 1)
        zero_c = np.zeros(len(change_c))
        model = LandmarkModel(chosen, mean_l3, unknown.basis_cl3, zero_c, unknown.precision_cc)
        ended_early |= budget.spent
        fit = fit_detected(
            model,
            error or module.error,
            measured_l2,
            intrinsics,
            weight,
            focal_deviation,
            pose,
            0 if ended_early else budget.steps,
            change_c,
        )
        change_c, pose = fit.code_c, fit.pose
        values += [fit.start, fit.end]
    camera = _camera(pose, intrinsics_133)
    identity, expression = unknown.codes(change_c)
    shaped, moved = unknown.corrections(change_c)
    found = Parameters(
        Normal(identity, start.identity.log_variance_bk),
        Normal(expression, start.expression.log_variance_bk),
        start.reflectance_bk,
        start.light_b81c,
        camera.rotation_b33,
        image_position(camera, crop_size),
    )
    mesh = module.morphable.decode(identity, expression) + shaped + moved
    neutral = close_lips(head, module.morphable.decode(identity, module.morphable.neutral_code()) + shaped)
    precision = torch.from_numpy(fit.precision(identity.shape[1])).to(mesh)
    return Fit(found, mesh, neutral, camera, precision, values[0], values[-1], ended_early)


@dataclass(frozen=True, eq=False)
class _Unknowns:
    """Codes, then corrections of the identity and of the expression, as changes from the encoder's answer.

    Attributes:
        first_1k: the encoder's codes; ``split``: number of those of the identity.
        offset_mv3: corrections at one deviation, mm; ``modes``: number of those of the identity.
        basis_cl3: change of the landmarks for each unknown.
        precision_cc: inverse covariance of the prior.
    """

    first_1k: Tensor
    split: int
    offset_mv3: Tensor
    modes: int
    basis_cl3: Array
    precision_cc: Array

    def codes(self, change_c: Array) -> tuple[Tensor, Tensor]:
        """Identity and expression codes (1, k)."""
        codes = self.first_1k + torch.from_numpy(change_c[: self.first_1k.shape[1]]).to(self.first_1k)
        return codes[:, : self.split], codes[:, self.split :]

    def corrections(self, change_c: Array) -> tuple[Tensor, Tensor]:
        """Offsets (v, 3) of the identity and of the expression, mm."""
        told = torch.from_numpy(change_c[self.first_1k.shape[1] :]).to(self.offset_mv3)
        parts = (told[: self.modes], self.offset_mv3[: self.modes]), (told[self.modes :], self.offset_mv3[self.modes :])
        identity, expression = (torch.tensordot(weight, offset, dims=1) for weight, offset in parts)
        return identity, expression


def _unknowns(head: Head, morphable: Morphable, start: Parameters) -> _Unknowns:
    local = ~scan_modes(head)  # the codes carry the scans' modes already
    like = morphable.average()
    modes = CORRECTION * torch.from_numpy(head.mode_std_m[local, None, None] * head.modes_mv3[local]).to(like)
    person = morphable.decode(start.identity_bk, morphable.neutral_code())
    offsets = torch.cat([modes, CORRECTION * _EXPRESSION * morph_targets(head, person)])
    # Landmarks are linear in the offsets.
    offset_ml3 = landmarks(head, offsets)[:, embedded(head)].double().cpu().numpy()
    variance = torch.cat([start.identity.log_variance_bk, start.expression.log_variance_bk], dim=1)[0].exp()
    precision_c = np.concatenate([1.0 / variance.double().cpu().numpy(), np.ones(len(offsets))])
    return _Unknowns(
        torch.cat([start.identity_bk, start.expression_bk], dim=1),
        start.identity_bk.shape[1],
        offsets,
        len(modes),
        np.concatenate([_linear(head, morphable), offset_ml3]),
        np.diag(precision_c),
    )


def _pose(camera: Camera) -> Pose:
    parts = (camera.rotation_b33, camera.translation_b3, camera.intrinsics_b33)
    rotation, translation, intrinsics = (x[0].double().cpu().numpy() for x in parts)
    return Pose(rotation, translation, float(intrinsics[0, 0]))


def _camera(pose: Pose, intrinsics_133: Tensor) -> Camera:
    """The camera of a pose; ``intrinsics`` tell the principal point."""
    k_133 = intrinsics_133.clone()
    k_133[:, 0, 0] = k_133[:, 1, 1] = pose.focal
    rotation, translation = (torch.from_numpy(x)[None].to(k_133) for x in (pose.rotation_33, pose.translation_3))
    return Camera(k_133, rotation, translation)


_KNOWN: "weakref.WeakKeyDictionary[Morphable, Array]" = weakref.WeakKeyDictionary()


def _linear(head: Head, morphable: Morphable) -> Array:
    """Change (c, l, 3) of the landmarks for each code; the same for all photographs of a model."""
    if morphable not in _KNOWN:
        _KNOWN[morphable] = linear_landmarks(head, morphable)[1]
    return _KNOWN[morphable]
