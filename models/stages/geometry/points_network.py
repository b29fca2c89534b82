"""From what the landmark detector sees to identity, expression and pose, each with its uncertainty.

The detector answers more than the picture positions of landmarks: a depth for each, scores of expressions, and all of
them together, since its errors are habits that depend on the person and the view. The network learns from detected
points of captures, so it learns these habits.

Legend: b batch, n detected points (478), e scores (52), k codes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mosar.models.head import LANDMARKS
from mosar.models.stages.geometry.alignment import Aligned, align, average_shape

SCORES = 52
_VIEW = 9 + 3  # rotation; direction and distance of the face
_DIGITS = (-3.0, 3.0)  # range of the logarithms of variances: no code is known better than to 0.22


@dataclass(frozen=True)
class Seen:
    """What the detector sees in a crop.

    Attributes:
        points_bn3: pixels of the crop, and depth relative to the head's centre in pixels, smaller towards the camera.
        scores_be: of expressions, in [0, 1].
        intrinsics_b33: of the crop, pixels, known or assumed.
    """

    points_bn3: Tensor
    scores_be: Tensor
    intrinsics_b33: Tensor


@dataclass(frozen=True)
class Normal:
    """Independent normal distributions of codes (b, k)."""

    mean_bk: Tensor
    log_variance_bk: Tensor

    def surprise(self, codes_bk: Tensor) -> Tensor:
        """Negative log likelihood (b) of codes, without its constant."""
        squared = (codes_bk - self.mean_bk).square() * (-self.log_variance_bk).exp()
        return 0.5 * (squared + self.log_variance_bk).sum(dim=1)


class PointsNetwork(nn.Module):
    """Features of the detected points: a linear path beside a perceptron, on principal components of aligned points."""

    reference_n3: Tensor
    mean_d: Tensor
    basis_cd: Tensor
    mean_score_e: Tensor
    std_score_e: Tensor
    mean_view: Tensor
    std_view: Tensor

    def __init__(self, components: int, hidden: int, features: int) -> None:
        super().__init__()
        self.register_buffer("reference_n3", torch.zeros(LANDMARKS, 3))
        self.register_buffer("mean_d", torch.zeros(3 * LANDMARKS))
        self.register_buffer("basis_cd", torch.zeros(components, 3 * LANDMARKS))
        self.register_buffer("mean_score_e", torch.zeros(SCORES))
        self.register_buffer("std_score_e", torch.ones(SCORES))
        self.register_buffer("mean_view", torch.zeros(_VIEW))
        self.register_buffer("std_view", torch.ones(_VIEW))
        inputs = components + SCORES + _VIEW
        self.straight = nn.Linear(inputs, features)
        self.bent = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, features)
        )

    @torch.no_grad()
    def fit_statistics(self, seen: Seen, start_n3: Tensor) -> None:
        """Set the reference shape, the principal components, and the scale of every input.

        Args:
            seen: many crops.
            start_n3: points of the average head, whose frame the reference shape takes.
        """
        self.reference_n3.copy_(average_shape(seen.points_bn3, start_n3))
        aligned = align(seen.points_bn3, self.reference_n3)
        flat = aligned.points_bn3.flatten(1)
        self.mean_d.copy_(flat.mean(dim=0))
        _, singular, rows = torch.linalg.svd(flat - self.mean_d, full_matrices=False)
        count = min(len(self.basis_cd), len(flat) - 1)
        deviation = singular[:count] / max(len(flat) - 1, 1) ** 0.5
        self.basis_cd.zero_()
        self.basis_cd[:count] = rows[:count] / deviation.clamp_min(1e-6 * float(deviation[0]))[:, None]
        view = _view(aligned, seen.intrinsics_b33)
        for values, mean, std in (
            (seen.scores_be, self.mean_score_e, self.std_score_e),
            (view, self.mean_view, self.std_view),
        ):
            mean.copy_(values.mean(dim=0))
            std.copy_(values.std(dim=0).clamp_min(0.02))

    def forward(self, seen: Seen) -> tuple[Tensor, Aligned]:
        """Features (b, f), and the aligned points."""
        aligned = align(seen.points_bn3, self.reference_n3)
        shape = (aligned.points_bn3.flatten(1) - self.mean_d) @ self.basis_cd.T
        scores = (seen.scores_be - self.mean_score_e) / self.std_score_e
        view = (_view(aligned, seen.intrinsics_b33) - self.mean_view) / self.std_view
        inputs = torch.cat([x.clamp(-6.0, 6.0) for x in (shape, scores, view)], dim=1)
        return self.straight(inputs) + self.bent(inputs), aligned


def _view(aligned: Aligned, intrinsics_b33: Tensor) -> Tensor:
    """The head's rotation, the direction of the face from the camera, and its distance over its size, logarithmic."""
    focal_b = intrinsics_b33[:, 0, 0]
    aside_b2 = (aligned.centre_b3[:, :2] - intrinsics_b33[:, :2, 2]) / focal_b[:, None]
    return torch.cat([aligned.rotation_b33.flatten(1), aside_b2, (focal_b / aligned.scale_b).log()[:, None]], dim=1)


def normal(mean_bk: Tensor, digits_bk: Tensor) -> Normal:
    """Normal distributions of a network's two outputs; the variances stay in a sane range."""
    return Normal(mean_bk, digits_bk.clamp(*_DIGITS))
