"""The linear morphable model to compare with: principal components of faces.

Legend: n people, f vertices of the face, k coefficients, l landmarks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.stages.morphable.fitting import Faces, Gaussian, Observed


@dataclass(frozen=True)
class Pca:
    """Principal components of identities and of expressions on the face, with the Gaussian of their coefficients."""

    mean_2f3: Tensor
    rows_kf3: Tensor
    identity_codes: int
    gaussian: Gaussian

    @staticmethod
    def fit(training: tuple[Tensor, Tensor], codes: tuple[int, int]) -> "Pca":
        """From neutral meshes and offsets to the meshes with expressions (n, f, 3)."""
        means, rows, scores = [], [], []
        torch.manual_seed(0)  # svd_lowrank starts from random directions
        for values_nf3, count in zip(training, codes, strict=True):
            mean = values_nf3.mean(dim=0)
            flat = (values_nf3 - mean).flatten(1)
            _, _, right = torch.svd_lowrank(flat, q=min(count + 24, *flat.shape), niter=4)
            means.append(mean)
            rows.append(right[:, :count].T.unflatten(1, (-1, 3)))
            scores.append(flat @ right[:, :count])
        return Pca(torch.stack(means), torch.cat(rows), codes[0], Gaussian.of(torch.cat(scores, dim=1)))

    def reconstruct(self, neutral_nf3: Tensor, mesh_nf3: Tensor) -> Tensor:
        """Meshes (n, f, 3) from their own coefficients."""
        total = self.mean_2f3.sum(dim=0).expand_as(mesh_nf3)
        rows = self.rows_kf3.flatten(1).split([self.identity_codes, len(self.rows_kf3) - self.identity_codes])
        for values, mean, row in zip((neutral_nf3, mesh_nf3 - neutral_nf3), self.mean_2f3, rows, strict=True):
            total = total + ((values - mean).flatten(1) @ row.T @ row).unflatten(1, (-1, 3))
        return total

    def most_likely(self, faces: Faces, observed: Observed, weight: float) -> Tensor:
        """The mode of the posterior, in closed form; meshes (n, f, 3)."""
        average = self.mean_2f3.sum(dim=0)
        basis_kl3 = faces.landmarks(self.rows_kf3).double()
        residual_nl3 = (observed.points_nl3 - faces.landmarks(average[None])).double()
        prior, codes = weight * self.gaussian.precision_kk, []
        for seen_l, residual_l3 in zip(observed.seen_nl, residual_nl3, strict=True):
            design = basis_kl3[:, seen_l].flatten(1) / observed.noise_mm
            right = design @ (residual_l3[seen_l].flatten() / observed.noise_mm) + prior @ self.gaussian.mean_k
            codes.append(torch.linalg.solve(design @ design.T + prior, right))
        return average + torch.tensordot(torch.stack(codes).float(), self.rows_kf3, dims=1)
