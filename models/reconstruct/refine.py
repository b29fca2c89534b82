"""A short regularised fit to the landmarks of one photograph, from the encoder's answer.

Unknowns: pose, the codes of the morphable model and, as small corrections, the head's own identity modes and
expressions. Every unknown is a standard normal variable a priori; the landmarks are measured with ``SIGMA`` noise.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.camera import Camera, project
from mosar.models.head import Head
from mosar.models.head.morph import landmarks
from mosar.models.stages.geometry.network import Parameters, camera_of
from mosar.models.stages.morphable.network import Morphable

SIGMA = 0.004  # standard deviation of a landmark, shares of the crop's side
CORRECTION = 0.5  # prior standard deviation of the corrections, in units of the head's own


@dataclass(frozen=True)
class Fit:
    """Refined parameters, the mesh (1, v, 3) in mm, its neutral (1, v, 3), and the camera in pixels of the crop.

    ``start_px`` and ``end_px`` are the weighted mean landmark errors before and after, pixels of the crop.
    """

    parameters: Parameters
    mesh_1v3: Tensor
    neutral_1v3: Tensor
    camera: Camera
    start_px: float
    end_px: float


def refine(
    head: Head,
    morphable: Morphable,
    start: Parameters,
    landmarks_1n2: Tensor,
    intrinsics_133: Tensor,
    crop_size: int,
    steps: int = 80,
    rate: float = 0.05,
) -> Fit:
    """Adam on the negative log posterior; the best step is kept, so the result is never worse than the start.

    Args:
        start: the encoder's answer, batch of one.
        landmarks_1n2: measured points, pixels of the crop.
        intrinsics_133: of the crop.
        steps: 0 returns the start.
        rate: learning rate of codes; the pose has its own scales below.
    """
    weight = torch.from_numpy(head.landmark_weight_l * (head.landmark_triangle_l >= 0)).to(landmarks_1n2)
    modes = (torch.from_numpy(head.mode_std_m[:, None, None] * head.modes_mv3)).to(landmarks_1n2) * CORRECTION
    expressions = torch.tensor(head.expressions_ev3).to(landmarks_1n2) * 0.5 * CORRECTION
    turn, place = torch.zeros(1, 3, device=weight.device), start.place_b3.detach().clone()
    codes = [start.identity_bk.detach().clone(), start.expression_bk.detach().clone()]
    corrections = [weight.new_zeros(1, len(modes)), weight.new_zeros(1, len(expressions))]
    with torch.no_grad():
        neutral_code = morphable.neutral_code()
    groups = [{"params": codes + corrections, "lr": rate}, {"params": [turn, place], "lr": 0.2 * rate}]
    optimiser = torch.optim.Adam(groups)

    def evaluate() -> tuple[Tensor, Tensor, Tensor, Camera]:
        mesh = morphable.decode(*codes)
        mesh = (
            mesh + torch.tensordot(corrections[0], modes, dims=1) + torch.tensordot(corrections[1], expressions, dims=1)
        )
        camera = camera_of(_rotate(turn) @ start.rotation_b33, place, intrinsics_133, crop_size)
        error = (project(camera, landmarks(head, mesh)) - landmarks_1n2) / crop_size
        distance = error.square().sum(dim=-1)
        likelihood = (weight * distance).sum() / SIGMA**2
        prior = sum(x.square().sum() for x in codes + corrections)
        mean_px = (weight * distance.sqrt()).sum() / weight.sum() * crop_size
        return 0.5 * (likelihood + prior), mean_px, mesh, camera

    best: tuple[float, list[Tensor]] = (float("inf"), [])
    unknowns = [*codes, *corrections, turn, place]
    start_px = 0.0
    for step in range(steps + 1):
        for unknown in unknowns:
            unknown.requires_grad_(step < steps)
        objective, mean_px, _, _ = evaluate()
        if step == 0:
            start_px = float(mean_px)
        if float(objective) < best[0]:
            best = float(objective), [u.detach().clone() for u in unknowns]
        if step < steps:
            optimiser.zero_grad()
            objective.backward()
            optimiser.step()
    with torch.no_grad():
        for unknown, value in zip(unknowns, best[1], strict=True):
            unknown.copy_(value)
        _, end_px, mesh, camera = evaluate()
        neutral = morphable.decode(codes[0], neutral_code) + torch.tensordot(corrections[0], modes, dims=1)
    parameters = Parameters(codes[0], codes[1], start.reflectance_bk, start.light_b81c, camera.rotation_b33, place)
    return Fit(parameters, mesh, neutral, camera, start_px, float(end_px))


def _rotate(turn_13: Tensor) -> Tensor:
    """Rotation (1, 3, 3) of a rotation vector (1, 3), radians."""
    x, y, z = turn_13[0]
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(1, 3, 3)
    return torch.linalg.matrix_exp(skew)
