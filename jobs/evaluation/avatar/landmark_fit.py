"""The row ``landmark_fit``: the most likely head of the released prior, given the detector's points and nothing else.

Unknowns: pose, identity and expression codes. Codes have standard normal priors; the points on the face without its
outline (which slides over the head with the view) are measured with noise. They count as few independent points,
because the errors of neighbours are alike. Levenberg-Marquardt from the average head's pose.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosar.datasets import crop
from mosar.datasets.skin_mask import OVAL
from mosar.jobs.evaluation.avatar.prior import Prior
from mosar.models.camera import Camera

NOISE = 0.032
"""Standard deviation of a point, as a share of the distance of the outer eye corners, tuned on people of a validation
split: ``python jobs/evaluate.py what=landmark_noise``."""

IRISES = tuple(range(468, 478))
OUTER_EYES = (33, 263)
_INDEPENDENT = 70.0
_STEPS = 12


@dataclass(frozen=True, eq=False)
class Fitted:
    """Neutral mesh and mesh with expression (1, v, 3), mm, and the camera of the photograph."""

    neutral_1v3: Tensor
    mesh_1v3: Tensor
    camera: Camera


def outer_eye_distance(points_n2: NDArray[np.floating]) -> float:
    """Distance of the outer eye corners, the unit of landmark errors."""
    return float(np.linalg.norm(points_n2[OUTER_EYES[0], :2] - points_n2[OUTER_EYES[1], :2]))


@torch.no_grad()
def fit_landmarks(
    prior: Prior, points_n2: NDArray[np.floating], height: int, width: int, noise: float = NOISE
) -> Fitted:
    """The most likely head. ``points_n2``: the detector's, pixels of a photograph of ``height`` x ``width``."""
    head, model = prior.head, prior.model
    weight_l = head.landmark_weight_l * (head.landmark_triangle_l >= 0)
    weight_l[[*OVAL, *IRISES]] = 0.0
    chosen = np.flatnonzero(weight_l > 0)
    corners_l3 = head.triangles_f3[head.landmark_triangle_l[chosen]]
    used, place_l3 = (torch.from_numpy(x) for x in np.unique(corners_l3, return_inverse=True))
    place_l3 = place_l3.reshape(corners_l3.shape)
    barycentric_l3 = torch.tensor(head.landmark_barycentric_l3[chosen]).double()

    def at_points(vertices_bn3: Tensor) -> Tensor:
        return torch.einsum("blcx,lc->blx", vertices_bn3[:, place_l3].double(), barycentric_l3)

    eyes = outer_eye_distance(points_n2)
    scale_l = torch.from_numpy(np.sqrt(weight_l[chosen] * _INDEPENDENT / weight_l.sum()) / (noise * eyes))
    wanted_l2 = torch.from_numpy(np.asarray(points_n2, np.float64)[chosen, :2])
    # Landmarks are linear in the components that the decoder gives.
    weights = model.decoder.linear.weight
    spread = torch.eye(len(weights), dtype=weights.dtype)
    basis_ml3 = at_points(model.to_vertices(spread, used))
    average_l3 = at_points(model.average()[None, used])[0]
    intrinsics = crop.assumed_intrinsics(np.asarray(points_n2)[:, :2], height, width)
    k_33, sizes = torch.from_numpy(intrinsics), (model.config.identity_codes, model.config.expression_codes)

    def points(codes_k: Tensor) -> Tensor:
        return average_l3 + torch.tensordot(model.decoder(codes_k[None])[0].double(), basis_ml3, dims=1)

    def residual(unknown: Tensor) -> Tensor:
        rotation = torch.linalg.matrix_exp(_skew(unknown[:3])) @ start_33
        seen = (points(unknown[6:].float()) @ rotation.T + unknown[3:6]) @ k_33.T
        missed_l2 = (seen[:, :2] / seen[:, 2:] - wanted_l2) * scale_l[:, None]
        return torch.cat([missed_l2.flatten(), unknown[6:]])

    codes = torch.zeros(sum(sizes), dtype=torch.float64)
    average = points(codes.float()).numpy()
    turn, shift = cv2.solvePnP(average, wanted_l2.numpy(), intrinsics, None, flags=cv2.SOLVEPNP_SQPNP)[1:3]
    start_33 = torch.from_numpy(cv2.Rodrigues(turn)[0])
    unknown = torch.cat([torch.zeros(3, dtype=torch.float64), torch.from_numpy(shift[:, 0]), codes])
    unknown = _minimise(residual, unknown)
    rotation = torch.linalg.matrix_exp(_skew(unknown[:3])) @ start_33
    identity, expression = unknown[None, 6:].float().split(sizes, dim=1)
    camera = Camera(k_33[None].float(), rotation[None].float(), unknown[None, 3:6].float())
    return Fitted(model.decode(identity, model.neutral_code()), model.decode(identity, expression), camera)


def _minimise(residual: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """Levenberg-Marquardt: a step is kept if it lowers the sum of squares."""
    found, damping = start, 1e-3
    value = residual(found)
    for _ in range(_STEPS):
        slope = torch.func.jacfwd(residual)(found)
        gram, pull = slope.T @ slope, slope.T @ value
        step = torch.linalg.solve(gram + damping * gram.diagonal().diag(), -pull)
        trial = residual(found + step)
        if bool(trial.square().sum() < value.square().sum()):
            found, value, damping = found + step, trial, max(damping * 0.2, 1e-6)
        else:
            damping *= 10.0
    return found


def _skew(turn_3: Tensor) -> Tensor:
    x, y, z = turn_3.unbind()
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
