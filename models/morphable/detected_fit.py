"""The most likely person given the detector's landmarks in one picture: pose, identity and expression codes.

Legend: l landmarks, k identity codes, e expression codes, d coordinates (l 2).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mosar.models.head import Head, landmarks
from mosar.models.morphable.detector_error import DetectorError
from mosar.models.morphable.network import Morphable

Array = npt.NDArray[np.float64]

_STEPS = 8
_DAMPING = 1e-3


@dataclass(frozen=True, eq=False)
class LandmarkModel:
    """Linear map from codes to the embedded landmarks of a morphable model, with a Gaussian prior of the identity.

    Attributes:
        chosen_l: the detector's numbers of the landmarks.
        mean_l3: landmarks of zero codes, mm.
        basis_cl3: change for each identity, then expression code.
        prior_c: mean of the prior; its inverse covariance is ``precision_cc``.
        identity_codes: number of identity codes.
    """

    chosen_l: npt.NDArray[np.int64]
    mean_l3: Array
    basis_cl3: Array
    prior_c: Array
    precision_cc: Array
    identity_codes: int


@dataclass(frozen=True, eq=False)
class DetectedFit:
    """Codes, and the pose: ``x_cam = rotation @ x + translation``, mm."""

    identity_k: Array
    expression_e: Array
    rotation_33: Array
    translation_3: Array

    @property
    def yaw_pitch(self) -> tuple[float, float]:
        """Turn of the head against a camera in front of it, radians."""
        return yaw_pitch(self.rotation_33)


def yaw_pitch(rotation_33: Array) -> tuple[float, float]:
    """Yaw and pitch, radians, of the direction in which the face looks."""
    forward = rotation_33[:, 2]
    return float(np.arctan2(forward[0], -forward[2])), float(np.arcsin(np.clip(forward[1], -1, 1)))


@torch.no_grad()
def landmark_model(head: Head, model: Morphable, codes_nk: torch.Tensor) -> LandmarkModel:
    """The linear landmark model of a morphable model.

    Args:
        codes_nk: identity codes of people, to which the prior is fitted; expression codes are standard normal.
    """
    sizes = (model.config.identity_codes, model.config.expression_codes)
    every = torch.cat([torch.zeros(1, sum(sizes)), torch.eye(sum(sizes))])
    meshes = torch.cat([model.decode_linear(*some.split(sizes, 1)) for some in every.split(32)])
    points_bl3 = landmarks(head, meshes).double().numpy()
    chosen = np.flatnonzero(head.landmark_triangle_l >= 0)
    prior, precision = np.zeros(sum(sizes)), np.eye(sum(sizes))
    codes = codes_nk.double().numpy()
    prior[: sizes[0]] = codes.mean(0)
    precision[: sizes[0], : sizes[0]] = np.linalg.inv(np.cov(codes.T) + 1e-3 * np.eye(sizes[0]))
    prior[sizes[0] :] = model.neutral_code()[0].double().numpy()
    mean_l3 = points_bl3[0, chosen]
    return LandmarkModel(chosen, mean_l3, points_bl3[1:, chosen] - mean_l3, prior, precision, sizes[0])


def fit_detected(
    model: LandmarkModel, error: DetectorError, points_l2: Array, intrinsics_33: Array, weight: float = 1.0
) -> DetectedFit:
    """Gauss-Newton steps to the mode of the posterior of pose and codes.

    Args:
        points_l2: the detector's points of ``model.chosen_l``, px.
        weight: factor on the error model's inverse covariance.
    """
    code_c = model.prior_c.copy()
    shape_l3 = model.mean_l3 + np.tensordot(code_c, model.basis_cl3, 1)
    _, turn, place = cv2.solvePnP(shape_l3, points_l2, intrinsics_33, None, flags=cv2.SOLVEPNP_EPNP)
    _, turn, place = cv2.solvePnP(shape_l3, points_l2, intrinsics_33, None, turn, place, True)
    rotation, translation = np.asarray(cv2.Rodrigues(turn)[0], np.float64), np.asarray(place, np.float64).ravel()
    count = len(code_c)
    for _ in range(_STEPS):
        shape_l3 = model.mean_l3 + np.tensordot(code_c, model.basis_cl3, 1)
        seen_l3 = shape_l3 @ rotation.T + translation
        focal, depth = intrinsics_33[0, 0], translation[2]
        scale = depth / focal  # px to mm at the head's depth
        projected_l2 = seen_l3[:, :2] / seen_l3[:, 2:] * focal + intrinsics_33[:2, 2]
        missing_l2 = (points_l2 - projected_l2) * scale - error.mean(*yaw_pitch(rotation))
        # Derivatives of the projection, in mm at the head's depth.
        near_l1 = depth / seen_l3[:, 2:]
        moved_cl3 = model.basis_cl3 @ rotation.T
        arm_l3 = seen_l3 - translation
        turned = np.stack([np.cross(axis, arm_l3) for axis in np.eye(3)])
        moved = np.concatenate([moved_cl3, turned, np.broadcast_to(np.eye(3)[:, None], (3, *arm_l3.shape))])
        slope = (moved[..., :2] - moved[..., 2:] * (seen_l3[:, :2] / seen_l3[:, 2:])) * near_l1
        slope_pd = slope.reshape(len(moved), -1)
        weighted = weight * slope_pd @ error.precision_dd
        system = weighted @ slope_pd.T
        right = weighted @ missing_l2.ravel()
        system[:count, :count] += model.precision_cc
        right[:count] -= model.precision_cc @ (code_c - model.prior_c)
        system[np.diag_indices(len(system))] += _DAMPING
        step = np.linalg.solve(system, right)
        code_c = code_c + step[:count]
        rotation = np.asarray(cv2.Rodrigues(step[count : count + 3])[0]) @ rotation
        translation = translation + step[count + 3 :]
    k = model.identity_codes
    return DetectedFit(code_c[:k], code_c[k:], rotation, translation)
