"""The most likely face given some noisy landmarks.

Legend: n people, l landmarks of the face, f its vertices, k codes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mosar.models.head import Head
from mosar.models.stages.morphable.network import Morphable

_STEPS, _RATE = 300, 0.1


class Faces:
    """The face of a head: its vertices, and the landmarks that lie on it.

    Attributes:
        vertices_f: numbers of the face's vertices.
    """

    def __init__(self, head: Head) -> None:
        on_face = head.region("face")
        embedded_l = head.landmark_triangle_l >= 0
        chosen = np.flatnonzero(embedded_l & on_face[head.triangles_f3[head.landmark_triangle_l]].all(axis=1))
        number_v = np.cumsum(on_face) - 1
        self.vertices_f = torch.from_numpy(np.flatnonzero(on_face))
        self.corners_l3 = torch.from_numpy(number_v[head.triangles_f3[head.landmark_triangle_l[chosen]]])
        self.barycentric_l3 = torch.tensor(head.landmark_barycentric_l3[chosen])

    def of(self, meshes_nv3: Tensor) -> Tensor:
        """(n, f, 3)."""
        return meshes_nv3[:, self.vertices_f]

    def landmarks(self, faces_nf3: Tensor) -> Tensor:
        """(n, l, 3)."""
        return torch.einsum("nlcx,lc->nlx", faces_nf3[:, self.corners_l3], self.barycentric_l3)


@dataclass(frozen=True)
class Observed:
    """Landmarks (n, l, 3) with noise, mm; which of them are seen (n, l); the noise's deviation, mm."""

    points_nl3: Tensor
    seen_nl: Tensor
    noise_mm: float


@dataclass(frozen=True)
class Gaussian:
    """Mean (k) and inverse covariance (k, k), double precision."""

    mean_k: Tensor
    precision_kk: Tensor

    @staticmethod
    def of(samples_nk: Tensor) -> "Gaussian":
        samples = samples_nk.double()
        return Gaussian(samples.mean(dim=0), torch.linalg.inv(torch.cov(samples.T)))


def observe(faces: Faces, faces_nf3: Tensor, count: int, noise_mm: float, seed: int) -> Observed:
    """``count`` landmarks of each face, others for each, with Gaussian noise."""
    generator = torch.Generator().manual_seed(seed)
    points = faces.landmarks(faces_nf3)
    points = points + noise_mm * torch.randn(points.shape, generator=generator)
    order = torch.rand(points.shape[:2], generator=generator).argsort(dim=1)
    return Observed(points, order < count, noise_mm)


def most_likely(model: Morphable, faces: Faces, observed: Observed, prior: Gaussian, weight: float) -> Tensor:
    """Faces (n, f, 3) at the mode of the posterior over both codes, by Adam from the prior's mean.

    Args:
        prior: over identity and expression codes together.
        weight: of the prior.
    """
    used, corners = faces.vertices_f[faces.corners_l3].unique(return_inverse=True)
    size = model.config.identity_codes
    root_kk = torch.linalg.cholesky(prior.precision_kk).float()
    mean_k = prior.mean_k.float()
    codes = mean_k.expand(len(observed.points_nl3), -1).clone().requires_grad_()
    optimiser = torch.optim.Adam([codes], _RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
    with torch.enable_grad():
        for _ in range(_STEPS):
            found = model.decode(codes[:, :size], codes[:, size:], used)[:, corners]
            points = torch.einsum("nlcx,lc->nlx", found, faces.barycentric_l3)
            misfit = ((points - observed.points_nl3).square().sum(dim=-1) * observed.seen_nl).sum()
            unlikely = ((codes - mean_k) @ root_kk).square().sum()
            optimiser.zero_grad()
            (0.5 * (misfit / observed.noise_mm**2 + weight * unlikely)).backward()
            optimiser.step()
            schedule.step()
    codes = codes.detach()
    return model.decode(codes[:, :size], codes[:, size:], faces.vertices_f)
