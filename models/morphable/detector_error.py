"""A joint model of the errors of detected landmarks: a mean field by view, correlated components, a diagonal.

Errors are in the image plane, in units of mm at the head's depth, x right and y down. Neighbouring points err together,
so hundreds of points tell far less than independent ones would.
Legend: n captures, l landmarks, d their coordinates (l 2), flattened; k components; b batch.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from mosar.models import weights_file
from mosar.models.camera import Camera, project
from mosar.models.head import Head
from mosar.models.precision import full_precision

PATH = Path(__file__).parent / "data" / "detector_error.safetensors"
FAR_MM = 6.0
"""Median error above which the detector took something else for the face."""

_TERMS = 4
_RIDGE = 3.0  # captures' worth of a prior that the mean field does not depend on the view
_LEAST_MM = 0.3  # smallest deviation that is independent of all other landmarks
_CLIP_MM = 8.0
_FEWEST = 6  # captures


class DetectorError(nn.Module):
    """Linear mean field, and covariance of low rank plus diagonal. A new one has no mean and deviations of one mm.

    Attributes:
        field_4d: coefficients of :func:`view_terms` for each coordinate.
        shared_kd: components; their sum of squares is the correlated part of the covariance.
        own_d: variance that is independent of all other coordinates.
    """

    field_4d: Tensor
    shared_kd: Tensor
    own_d: Tensor

    def __init__(self, landmarks: int, components: int = 30) -> None:
        super().__init__()
        self.register_buffer("field_4d", torch.zeros(_TERMS, 2 * landmarks))
        self.register_buffer("shared_kd", torch.zeros(components, 2 * landmarks))
        self.register_buffer("own_d", torch.ones(2 * landmarks))

    @torch.no_grad()
    @full_precision
    def fit(self, error_nl2: Tensor, yaw_n: Tensor, pitch_n: Tensor) -> None:
        """Fit to errors, detected minus true, mm; radians.

        Few captures give fewer components, and fewer than 6 leave the model as it is.
        """
        if len(error_nl2) < _FEWEST:
            return
        error_nd = error_nl2.double().clamp(-_CLIP_MM, _CLIP_MM).flatten(1)
        terms_n4 = view_terms(yaw_n, pitch_n).double()
        penalty = torch.diag(terms_n4.new_tensor([0.0, _RIDGE, _RIDGE, _RIDGE]))
        field_4d = torch.linalg.solve(terms_n4.T @ terms_n4 + penalty, terms_n4.T @ error_nd)
        rest_nd = error_nd - terms_n4 @ field_4d
        count = max(min(len(self.shared_kd), len(rest_nd) - 5), 0)
        _, singular, rows_kd = torch.linalg.svd(rest_nd / max(len(rest_nd) - 4, 1) ** 0.5, full_matrices=False)
        # A component's variance holds its share of the independent noise (Tipping and Bishop 1999).
        noise = singular[count:].square().sum() / max(rest_nd.shape[1] - count, 1)
        shared_kd = rows_kd[:count] * (singular[:count, None].square() - noise).clamp_min(0.0).sqrt()
        self.field_4d.copy_(field_4d)
        self.shared_kd.zero_()
        self.shared_kd[:count] = shared_kd
        own_d = rest_nd.square().mean(dim=0) - shared_kd.square().sum(dim=0)
        self.own_d.copy_(own_d.clamp_min(_LEAST_MM**2))

    def mean(self, yaw_b: Tensor, pitch_b: Tensor) -> Tensor:
        """Expected errors (b, l, 2), mm, of views; radians."""
        return (view_terms(yaw_b, pitch_b).to(self.field_4d) @ self.field_4d).unflatten(1, (-1, 2))

    @full_precision
    def energy(self, error_bl2: Tensor) -> Tensor:
        """Squared Mahalanobis distance (b) of errors without their mean."""
        error_bd = error_bl2.flatten(1)
        correlated_bk = error_bd @ self._whitened().to(error_bd).T
        return (error_bd.square() / self.own_d).sum(dim=1) - correlated_bk.square().sum(dim=1)

    def precision(self) -> Tensor:
        """Inverse covariance (d, d), double precision."""
        whitened_kd = self._whitened()
        return torch.diag(1.0 / self.own_d.double()) - whitened_kd.T @ whitened_kd

    def to_bytes(self, head: Head) -> bytes:
        """Content of the file that :func:`shipped` reads."""
        return weights_file.to_bytes(self, {"model": "detector_error", "head": head.digest})

    def _whitened(self) -> Tensor:
        """Rows (k, d) whose outer products, taken from the inverse diagonal, give the precision (Woodbury)."""
        shared_kd = self.shared_kd.double()
        scaled_kd = shared_kd / self.own_d.double()
        inner = torch.eye(len(shared_kd), dtype=shared_kd.dtype, device=shared_kd.device) + scaled_kd @ shared_kd.T
        return torch.linalg.solve_triangular(torch.linalg.cholesky(inner), scaled_kd, upper=False)


def shipped(head: Head, path: Path = PATH) -> dict[str, Tensor] | None:
    """The shipped state of :class:`DetectorError`, learnt by ``evaluate.py what=detector``; None for other heads."""
    about, tensors = weights_file.read(path)
    return tensors if about.get("head") == head.digest else None


def missed(detected_bn2: Tensor, points_bn3: Tensor, camera: Camera) -> Tensor:
    """Detected points, px, minus projected ones (b, n, 2) in the image plane, mm at the head's depth.

    Args:
        points_bn3: true positions in the head frame, mm.
    """
    scale = camera.translation_b3[:, 2] / camera.intrinsics_b33[:, 0, 0]
    return (detected_bn2 - project(camera, points_bn3)) * scale[:, None, None]


def view_terms(yaw_n: Tensor, pitch_n: Tensor) -> Tensor:
    """Terms (n, 4) on which the mean field depends: constant, yaw, its square, pitch; radians."""
    return torch.stack([torch.ones_like(yaw_n), yaw_n, yaw_n.square(), pitch_n], dim=1)


def yaw_pitch(rotation_b33: Tensor) -> tuple[Tensor, Tensor]:
    """Yaw and pitch (b), radians, of the direction in which a face looks against a camera in front of it."""
    forward_b3 = rotation_b33[:, :, 2]
    return torch.atan2(forward_b3[:, 0], -forward_b3[:, 2]), forward_b3[:, 1].clamp(-1.0, 1.0).asin()
