"""The most likely person given the detector's landmarks in one picture: pose, focal length and codes.

Legend: l landmarks, c codes, d coordinates (l 2), p unknowns: codes, turn, shift, focal length.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.models.head import Head, landmarks
from mosar.models.morphable.detector_error import DetectorError, yaw_pitch
from mosar.models.morphable.network import Morphable

Array = npt.NDArray[np.float64]

_DAMPING = (1e-3, 1e6)
"""First and largest factor on the diagonal (Levenberg-Marquardt): a step must lower the objective."""


@dataclass(frozen=True, eq=False)
class LandmarkModel:
    """Linear map from codes to the embedded landmarks of a head, with a Gaussian prior of the codes.

    Attributes:
        chosen_l: the detector's numbers of the landmarks.
        mean_l3: landmarks of zero codes, mm.
        basis_cl3: change for each code.
        prior_c: mean of the prior; its inverse covariance is ``precision_cc``.
    """

    chosen_l: npt.NDArray[np.int64]
    mean_l3: Array
    basis_cl3: Array
    prior_c: Array
    precision_cc: Array


@dataclass(frozen=True, eq=False)
class Pose:
    """``x_cam = rotation @ x + translation``, mm; the focal length in pixels."""

    rotation_33: Array
    translation_3: Array
    focal: float


@dataclass(frozen=True, eq=False)
class DetectedFit:
    """Codes and pose, and the negative log posterior at the start and at the end.

    ``system_pp``: its second derivatives by codes, turn, shift and the logarithm of the focal length.
    """

    code_c: Array
    pose: Pose
    start: float
    end: float
    system_pp: Array

    def precision(self, codes: int) -> Array:
        """Inverse covariance of the first codes, whatever all other unknowns are."""
        mine, both, rest = (
            self.system_pp[:codes, :codes],
            self.system_pp[:codes, codes:],
            self.system_pp[codes:, codes:],
        )
        return np.asarray(mine - both @ np.linalg.solve(rest, both.T), np.float64)


@torch.no_grad()
def landmark_model(head: Head, model: Morphable, codes_nk: Tensor) -> LandmarkModel:
    """The linear landmark model of a morphable model: identity codes, then expression codes.

    Args:
        codes_nk: identity codes of people, to which the prior is fitted; expression codes are standard normal.
    """
    sizes = (model.config.identity_codes, model.config.expression_codes)
    mean_l3, basis_cl3 = linear_landmarks(head, model)
    prior, precision = np.zeros(sum(sizes)), np.eye(sum(sizes))
    codes = codes_nk.double().numpy()
    prior[: sizes[0]] = codes.mean(0)
    precision[: sizes[0], : sizes[0]] = np.linalg.inv(np.cov(codes.T) + 1e-3 * np.eye(sizes[0]))
    prior[sizes[0] :] = model.neutral_code()[0].double().numpy()
    return LandmarkModel(embedded(head), mean_l3, basis_cl3, prior, precision)


def embedded(head: Head) -> npt.NDArray[np.int64]:
    """Numbers of the detector's points that the head has."""
    return np.flatnonzero(head.landmark_triangle_l >= 0)


@torch.no_grad()
def linear_landmarks(head: Head, model: Morphable) -> tuple[Array, Array]:
    """Embedded landmarks (l, 3) of zero codes, and their change (c, l, 3) for each code, by the model's linear path."""
    sizes = (model.config.identity_codes, model.config.expression_codes)
    every = torch.cat([torch.zeros(1, sum(sizes)), torch.eye(sum(sizes))]).to(model.average())
    points = [landmarks(head, model.decode_linear(*some.split(sizes, 1))) for some in every.split(32)]
    points_bl3 = torch.cat(points)[:, embedded(head)].double().cpu().numpy()
    return points_bl3[0], points_bl3[1:] - points_bl3[0]


def solve_pose(points_l3: Array, seen_l2: Array, intrinsics_33: Array) -> Pose:
    """The pose of a shape with known landmarks."""
    _, turn, place = cv2.solvePnP(points_l3, seen_l2, intrinsics_33, None, flags=cv2.SOLVEPNP_EPNP)
    _, turn, place = cv2.solvePnP(points_l3, seen_l2, intrinsics_33, None, turn, place, True)
    rotation = np.asarray(cv2.Rodrigues(turn)[0], np.float64)
    return Pose(rotation, np.asarray(place, np.float64).ravel(), float(intrinsics_33[0, 0]))


def fit_detected(
    model: LandmarkModel,
    error: DetectorError,
    points_l2: Array,
    intrinsics_33: Array,
    weight: float = 1.0,
    focal_deviation: float = 0.0,
    start: Pose | None = None,
    steps: int = 8,
    first_c: Array | None = None,
) -> DetectedFit:
    """Levenberg-Marquardt steps to the mode of the posterior; never worse than the start.

    Args:
        points_l2: the detector's points of ``model.chosen_l``, px.
        weight: factor on the error model's inverse covariance.
        focal_deviation: of the prior of the focal length's logarithm about that of the intrinsics; 0: it is known.
        start: default: the pose of the prior's mean.
        first_c: codes to start from; default: the prior's mean.
    """
    precision_dd = weight * error.precision().cpu().numpy()
    code_c = model.prior_c if first_c is None else first_c
    pose = start or solve_pose(model.mean_l3 + np.tensordot(code_c, model.basis_cl3, 1), points_l2, intrinsics_33)
    view = torch.from_numpy(pose.rotation_33)[None]
    mean_l2 = error.mean(*yaw_pitch(view))[0].double().cpu().numpy()
    focal_precision = 1.0 / max(focal_deviation, 1e-4) ** 2
    centre_2, guessed = intrinsics_33[:2, 2], float(intrinsics_33[0, 0])

    def missing(code_c: Array, pose: Pose) -> tuple[Array, Array, float]:
        """Residual (l 2), mm at the head's depth, landmarks in the camera's frame, and negative log posterior."""
        seen_l3 = (model.mean_l3 + np.tensordot(code_c, model.basis_cl3, 1)) @ pose.rotation_33.T + pose.translation_3
        projected = seen_l3[:, :2] / seen_l3[:, 2:] * pose.focal + centre_2
        residual_l2 = (points_l2 - projected) * (pose.translation_3[2] / pose.focal) - mean_l2
        off = code_c - model.prior_c
        far = np.log(pose.focal / guessed)
        value = residual_l2.ravel() @ precision_dd @ residual_l2.ravel() + off @ model.precision_cc @ off
        return residual_l2, seen_l3, 0.5 * float(value + focal_precision * far**2)

    residual_l2, seen_l3, value = missing(code_c, pose)
    first, damping, count = value, _DAMPING[0], len(code_c)

    def linear() -> tuple[Array, Array]:
        """Second derivatives and negative first derivatives of the objective."""
        depth = pose.translation_3[2]
        near_l1 = depth / seen_l3[:, 2:]
        arm_l3 = seen_l3 - pose.translation_3
        turned = np.stack([np.cross(axis, arm_l3) for axis in np.eye(3)])
        shifted = np.broadcast_to(np.eye(3)[:, None], (3, *arm_l3.shape))
        moved = np.concatenate([model.basis_cl3 @ pose.rotation_33.T, turned, shifted])
        slope = (moved[..., :2] - moved[..., 2:] * (seen_l3[:, :2] / seen_l3[:, 2:])) * near_l1
        zoomed = seen_l3[:, :2] * near_l1
        slope_pd = np.concatenate([slope, zoomed[None]]).reshape(len(moved) + 1, -1)
        weighted_pd = slope_pd @ precision_dd
        system_pp, right_p = weighted_pd @ slope_pd.T, weighted_pd @ residual_l2.ravel()
        system_pp[:count, :count] += model.precision_cc
        right_p[:count] -= model.precision_cc @ (code_c - model.prior_c)
        system_pp[-1, -1] += focal_precision
        right_p[-1] -= focal_precision * np.log(pose.focal / guessed)
        return system_pp, right_p

    for _ in range(steps):
        system_pp, right_p = linear()
        while damping < _DAMPING[1]:
            step = np.linalg.solve(system_pp + damping * np.diag(np.diag(system_pp)), right_p)
            turn = np.asarray(cv2.Rodrigues(step[count : count + 3])[0], np.float64)
            shift, zoom = step[count + 3 : -1], float(np.exp(step[-1]))
            tried = Pose(turn @ pose.rotation_33, pose.translation_3 + shift, pose.focal * zoom)
            found = missing(code_c + step[:count], tried)
            if found[2] < value:
                break
            damping *= 10.0
        else:
            break
        code_c, pose, damping = code_c + step[:count], tried, max(damping * 0.1, 1e-9)
        residual_l2, seen_l3, value = found
    return DetectedFit(code_c, pose, first, value, linear()[0])
