"""Estimates the most likely face given some noisy landmarks.

Legend: n people, l landmarks of the face, f vertices of the face, a axes along which landmarks are measured, d known
coordinates of a person, c components of the prior, k codes.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mosar.errors import ConfigError
from mosar.models.camera import FACING
from mosar.models.head import Head, vertex_normals
from mosar.models.morphable.mixture import Mixture
from mosar.models.morphable.network import Morphable

_STEPS = 3  # Gauss-Newton steps
_YAW_DEGREES = 40.0  # largest yaw of the camera to either side


class Faces:
    """The face of a head: its vertices and the landmarks embedded in it.

    Attributes:
        vertices_f: indices of the face's vertices in the head.
        normal_l3: unit normals of the landmarks on the template.
    """

    def __init__(self, head: Head) -> None:
        on_face = head.region("face")
        embedded_l = head.landmark_triangle_l >= 0
        chosen = np.flatnonzero(embedded_l & on_face[head.triangles_f3[head.landmark_triangle_l]].all(axis=1))
        number_v = np.cumsum(on_face) - 1
        self.vertices_f = torch.from_numpy(np.flatnonzero(on_face))
        self.corners_l3 = torch.from_numpy(number_v[head.triangles_f3[head.landmark_triangle_l[chosen]]])
        self.barycentric_l3 = torch.tensor(head.landmark_barycentric_l3[chosen])
        normals = vertex_normals(torch.tensor(head.template_v3)[None], torch.tensor(head.triangles_f3))
        self.normal_l3 = torch.nn.functional.normalize(self.landmarks(self.of(normals))[0], dim=-1)

    def of(self, meshes_nv3: Tensor) -> Tensor:
        """The face's vertices (n, f, 3)."""
        return meshes_nv3[:, self.vertices_f]

    def landmarks(self, faces_nf3: Tensor) -> Tensor:
        """Positions (n, l, 3) of the landmarks."""
        return torch.einsum("nlcx,lc->nlx", faces_nf3[:, self.corners_l3], self.barycentric_l3)


@dataclass(frozen=True)
class LandmarkObservations:
    """Noisy coordinates of landmarks.

    Attributes:
        points_nla: coordinates along ``axes_na3``, mm.
        seen_nl: landmarks whose coordinates are known.
        axes_na3: orthonormal axes, head frame; only two if the depth is unknown.
        noise_mm: standard deviation of a coordinate.
    """

    points_nla: Tensor
    seen_nl: Tensor
    axes_na3: Tensor
    noise_mm: float

    def known(self, person: int) -> Tensor:
        """Known coordinates of a person (d), in units of the noise."""
        return self.points_nla[person, self.seen_nl[person]].flatten() / self.noise_mm

    def predicted(self, points_l3: Tensor, person: int) -> Tensor:
        """The coordinates (..., d) that :meth:`known` gives if the landmarks, or their derivatives, are (..., l, 3)."""
        seen = points_l3[..., self.seen_nl[person], :] @ self.axes_na3[person].T.to(points_l3.dtype)
        return seen.flatten(-2) / self.noise_mm


@dataclass(frozen=True)
class Gaussian:
    """Mean (k) and inverse covariance (k, k), double precision."""

    mean_k: Tensor
    precision_kk: Tensor

    @staticmethod
    def of(samples_nk: Tensor) -> "Gaussian":
        samples = samples_nk.double()
        return Gaussian(samples.mean(dim=0), torch.linalg.inv(torch.cov(samples.T)))


def photograph(faces: Faces, faces_nf3: Tensor, count: int, noise_mm: float, seed: int) -> LandmarkObservations:
    """Observe ``count`` random landmarks of each person that face a distant camera at a known place.

    The camera's yaw is up to 40 degrees to either side. Depth and the far cheek are not observed.

    Raises:
        ConfigError: fewer than ``count`` landmarks face some camera.
    """
    generator = torch.Generator().manual_seed(seed)
    yaw_n = (2 * torch.rand(len(faces_nf3), generator=generator) - 1) * math.radians(_YAW_DEGREES)
    zero_n, cos_n, sin_n = torch.zeros_like(yaw_n), yaw_n.cos(), yaw_n.sin()
    right_n3 = torch.stack([cos_n, zero_n, -sin_n], dim=1)
    axes_n23 = torch.stack([right_n3, torch.tensor([0.0, 1.0, 0.0]).expand_as(right_n3)], dim=1)
    facing_nl = torch.stack([sin_n, zero_n, cos_n], dim=1) @ faces.normal_l3.T > FACING
    return _observed(faces, faces_nf3, axes_n23, facing_nl, count, noise_mm, generator)


def scan(faces: Faces, faces_nf3: Tensor, count: int, noise_mm: float, seed: int) -> LandmarkObservations:
    """Observe ``count`` random landmarks of each person in three dimensions.

    Raises:
        ConfigError: the head has fewer than ``count`` landmarks on its face.
    """
    generator = torch.Generator().manual_seed(seed)
    every_nl = torch.ones(len(faces_nf3), len(faces.normal_l3), dtype=torch.bool)
    return _observed(faces, faces_nf3, torch.eye(3).expand(len(faces_nf3), 3, 3), every_nl, count, noise_mm, generator)


def _observed(
    faces: Faces,
    faces_nf3: Tensor,
    axes_na3: Tensor,
    visible_nl: Tensor,
    count: int,
    noise_mm: float,
    generator: torch.Generator,
) -> LandmarkObservations:
    fewest = int(visible_nl.sum(dim=1).min())
    if count > fewest:
        raise ConfigError(f"landmarks: got {count}, expected at most {fewest}: no more face every camera")
    points_nla = torch.einsum("nlx,nax->nla", faces.landmarks(faces_nf3), axes_na3)
    points_nla = points_nla + noise_mm * torch.randn(points_nla.shape, generator=generator)
    order_nl = torch.rand(visible_nl.shape, generator=generator).where(visible_nl, torch.tensor(2.0)).argsort(dim=1)
    return LandmarkObservations(points_nla, visible_nl & (order_nl.argsort(dim=1) < count), axes_na3, noise_mm)


class MapEstimator:
    """Estimates the most likely faces of a morphable model whose codes have a mixture of Gaussians as their prior.

    The first step chooses the component with the most evidence. The evidence has a closed form because the decoder is
    nearly linear around each component's mean (Bishop, "Pattern recognition and machine learning", 2006, (2.115)). The
    second step finds the mode of the posterior within that component by Gauss-Newton steps through the decoder.
    """

    def __init__(self, model: Morphable, faces: Faces, prior: Mixture) -> None:
        self.model, self.faces, self.prior = model, faces, prior
        self._used, self._corners = faces.vertices_f[faces.corners_l3].unique(return_inverse=True)
        self._points_cl3, self._slope_ckl3 = self._linear(prior.mean_ck.float())

    def __call__(self, observed: LandmarkObservations, weight: float) -> Tensor:
        """Estimate faces (n, f, 3), mm. The prior's covariances are divided by ``weight``."""
        people = range(len(observed.seen_nl))
        root_ckk = torch.linalg.cholesky(self.prior.covariance_ckk / weight).float()
        slope_ckl3 = torch.einsum("cik,cilx->cklx", root_ckk, self._slope_ckl3)
        chosen, white = [], []
        for n in people:
            missing_cd = observed.known(n) - observed.predicted(self._points_cl3, n)
            white_ck, evidence_c = _posterior(observed.predicted(slope_ckl3, n), missing_cd)
            chosen.append(int((evidence_c + self.prior.weight_c.log()).argmax()))
            white.append(white_ck[chosen[-1]])
        mean_nk, root_nkk, white_nk = self.prior.mean_ck.float()[chosen], root_ckk[chosen], torch.stack(white)
        for _ in range(_STEPS):
            points_nl3, slope_nkl3 = self._linear(mean_nk + torch.einsum("nik,nk->ni", root_nkk, white_nk))
            slope_nkl3 = torch.einsum("nik,nilx->nklx", root_nkk, slope_nkl3)
            origin_nl3 = points_nl3 - torch.einsum("nk,nklx->nlx", white_nk, slope_nkl3)
            for n in people:
                missing_d = observed.known(n) - observed.predicted(origin_nl3[n], n)
                white_nk[n] = _posterior(observed.predicted(slope_nkl3[n], n)[None], missing_d[None])[0][0]
        return self._decode(mean_nk + torch.einsum("nik,nk->ni", root_nkk, white_nk), self.faces.vertices_f)

    def _decode(self, codes_nk: Tensor, vertices: Tensor) -> Tensor:
        size = self.model.config.identity_codes
        return self.model.decode(codes_nk[:, :size], codes_nk[:, size:], vertices)

    def _linear(self, codes_nk: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (n, l, 3) of codes, and their derivatives with respect to each code (n, k, l, 3)."""

        def points(codes: Tensor) -> Tensor:
            corners = self._decode(codes, self._used)[:, self._corners]
            return torch.einsum("nlcx,lc->nlx", corners, self.faces.barycentric_l3)

        directions = torch.eye(codes_nk.shape[1]).unsqueeze(1).expand(-1, *codes_nk.shape)
        slopes = [torch.func.jvp(points, (codes_nk,), (direction,))[1] for direction in directions]
        return points(codes_nk), torch.stack(slopes, dim=1)


def _posterior(slope_ckd: Tensor, missing_cd: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior mean (c, k) of standard normal x given ``missing = x @ slope + unit noise``, and log evidence (c)."""
    slope, missing = slope_ckd.double(), missing_cd.double()
    root = torch.linalg.cholesky(slope @ slope.mT + torch.eye(slope.shape[1], dtype=slope.dtype))
    pull = (slope @ missing[..., None])[..., 0]
    mean = torch.cholesky_solve(pull[..., None], root)[..., 0]
    spread = root.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    evidence = 0.5 * ((pull * mean).sum(dim=-1) - missing.square().sum(dim=-1)) - spread
    return mean.float(), evidence
