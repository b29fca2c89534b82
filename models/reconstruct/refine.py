"""A short regularised fit to the landmarks of one photograph, starting from the encoder's prediction.

Unknowns: pose, the codes of the morphable model and, as small corrections, the head's local identity modes and the
morph targets of its expressions on the predicted person. Every unknown except the pose has a standard normal prior;
landmarks are measured with noise :data:`SIGMA`. The pose is fitted first with the shape fixed, because it alone
explains most of the error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.camera import Camera, project
from mosar.models.head import Head
from mosar.models.head.identity_sampling import scan_modes
from mosar.models.head.lips import close_lips
from mosar.models.head.morph import landmarks, morph_targets
from mosar.models.morphable.network import Morphable
from mosar.models.stages.geometry.network import Parameters, camera_of

SIGMA = 0.004  # standard deviation of a landmark, as a share of the crop's side
CORRECTION = 0.5  # prior standard deviation of the corrections, in units of the head's own deviations
_EXPRESSION = 0.5  # the head's own deviation of an expression's weight
_POSE_STEPS, _POSE_RATE = 100, 0.03


@dataclass(frozen=True)
class Fit:
    """Refined parameters, the mesh and the neutral mesh (1, v, 3) in mm, and the camera in pixels of the crop.

    ``start_px`` and ``end_px`` are the weighted mean landmark errors before and after the fit, pixels of the crop.
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
    """Minimise the negative log posterior with Adam; keep the best step, so the result is never worse than the start.

    Args:
        start: the encoder's prediction, batch of one.
        landmarks_1n2: measured points, pixels of the crop.
        intrinsics_133: of the crop.
        steps: of the joint fit; 0 returns the start.
        rate: learning rate of the codes and corrections; the pose has a fifth of it.
    """
    weight = torch.from_numpy(head.landmark_weight_l * (head.landmark_triangle_l >= 0)).to(landmarks_1n2)
    local = ~scan_modes(head)  # the codes carry the scans' modes already
    modes = CORRECTION * torch.from_numpy(head.mode_std_m[local, None, None] * head.modes_mv3[local]).to(landmarks_1n2)
    with torch.no_grad():
        person = morphable.decode(start.identity_bk, morphable.neutral_code())
        expressions = CORRECTION * _EXPRESSION * morph_targets(head, person)
    offsets = torch.cat([modes, expressions])
    landmark_offsets = landmarks(head, offsets)  # landmarks are linear in the offsets, and far fewer than vertices
    codes = [start.identity_bk.clone(), start.expression_bk.clone()]
    corrections, turn, place = (
        weight.new_zeros(1, len(offsets)),
        weight.new_zeros(1, 3),
        start.image_position_b3.clone(),
    )

    def camera() -> Camera:
        return camera_of(_rotate(turn) @ start.rotation_b33, place, intrinsics_133, crop_size)

    def distance(points_1n3: Tensor) -> Tensor:
        """Squared distance of each landmark, in shares of the crop's side."""
        return ((project(camera(), points_1n3) - landmarks_1n2) / crop_size).square().sum(dim=-1)

    def pixels(squared_1n: Tensor) -> float:
        return float((weight * squared_1n.detach().sqrt()).sum() / weight.sum() * crop_size)

    def posterior(points_1n3: Tensor) -> tuple[Tensor, Tensor]:
        squared = distance(points_1n3 + torch.tensordot(corrections, landmark_offsets, dims=1))
        prior = torch.cat([*codes, corrections], dim=1).square().sum()
        return 0.5 * ((weight * squared).sum() / SIGMA**2 + prior), squared

    with torch.no_grad():
        fixed = landmarks(head, morphable.decode(*codes))
        start_px = pixels(distance(fixed))
    _minimise([([turn, place], _POSE_RATE)], lambda: posterior(fixed)[0], _POSE_STEPS if steps else 0)
    _minimise(
        [([*codes, corrections], rate), ([turn, place], 0.2 * rate)],
        lambda: posterior(landmarks(head, morphable.decode(*codes)))[0],
        steps,
    )
    with torch.no_grad():
        mesh, points = morphable.decode(*codes), landmarks(head, morphable.decode(*codes))
        identity = torch.tensordot(corrections[:, : len(modes)], modes, dims=1)
        expression = torch.tensordot(corrections[:, len(modes) :], expressions, dims=1)
        neutral = close_lips(head, morphable.decode(codes[0], morphable.neutral_code()) + identity)
        found = Parameters(codes[0], codes[1], start.reflectance_bk, start.light_b81c, camera().rotation_b33, place)
        end_px = pixels(posterior(points)[1])
    return Fit(found, mesh + identity + expression, neutral, camera(), start_px, end_px)


def _minimise(groups: list[tuple[list[Tensor], float]], objective: Callable[[], Tensor], steps: int) -> None:
    """Run Adam with a cosine schedule on the tensors of ``groups`` and leave them at their best values."""
    unknowns = [u for tensors, _ in groups for u in tensors]
    optimiser = torch.optim.Adam([{"params": tensors, "lr": rate} for tensors, rate in groups])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    best, kept = torch.inf, [u.clone() for u in unknowns]
    for step in range(steps + 1):
        for u in unknowns:
            u.requires_grad_(step < steps)
        value = objective()
        if float(value.detach()) < best:
            best, kept = float(value.detach()), [u.detach().clone() for u in unknowns]
        if step < steps:
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
    for u, value in zip(unknowns, kept, strict=True):
        u.copy_(value)


def _rotate(turn_13: Tensor) -> Tensor:
    """Rotation (1, 3, 3) of a rotation vector (1, 3), radians."""
    x, y, z = turn_13[0]
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(1, 3, 3)
    return torch.linalg.matrix_exp(skew)
