"""The linear baseline of the morphable model: principal components of faces.

Legend: n people, f vertices of the face, k coefficients, l landmarks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.morphable.fitting import Faces, Gaussian, LandmarkObservations


@dataclass(frozen=True)
class Pca:
    """Principal components of identities and of expressions on the face."""

    mean_2f3: Tensor
    rows_kf3: Tensor
    identity_codes: int

    @staticmethod
    def fit(training: tuple[Tensor, Tensor], codes: tuple[int, int]) -> "Pca":
        """Fit to neutral meshes and to the offsets that expressions add to them, (n, f, 3) each."""
        means, rows = [], []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # svd_lowrank starts from random directions
            for values_nf3, count in zip(training, codes, strict=True):
                mean = values_nf3.mean(dim=0)
                flat = (values_nf3 - mean).flatten(1)
                _, _, right = torch.svd_lowrank(flat, q=min(count + 24, *flat.shape), niter=4)
                means.append(mean)
                rows.append(right[:, :count].T.unflatten(1, (-1, 3)))
        return Pca(torch.stack(means), torch.cat(rows), codes[0])

    def coefficients(self, neutral_nf3: Tensor, mesh_nf3: Tensor) -> Tensor:
        """Coefficients (n, k) of the identity, then of the expression."""
        offsets = (neutral_nf3 - self.mean_2f3[0], mesh_nf3 - neutral_nf3 - self.mean_2f3[1])
        return torch.cat([offset.flatten(1) @ row.T for offset, row in zip(offsets, self._rows(), strict=True)], dim=1)

    def meshes(self, coefficients_nk: Tensor) -> Tensor:
        """Meshes (n, f, 3) of coefficients."""
        return self.mean_2f3.sum(dim=0) + torch.tensordot(coefficients_nk, self.rows_kf3, dims=1)

    def most_likely(self, faces: Faces, observed: LandmarkObservations, prior: Gaussian, weight: float) -> Tensor:
        """Meshes (n, f, 3) at the mode of the posterior, which has a closed form."""
        basis_kl3 = faces.landmarks(self.rows_kf3).double()
        average_l3 = faces.landmarks(self.mean_2f3.sum(dim=0)[None])[0].double()
        precision, found = weight * prior.precision_kk, []
        for person in range(len(observed.seen_nl)):
            design = observed.predicted(basis_kl3, person)
            right = design @ (observed.known(person) - observed.predicted(average_l3, person))
            found.append(torch.linalg.solve(design @ design.T + precision, right + precision @ prior.mean_k))
        return self.meshes(torch.stack(found).float())

    def _rows(self) -> tuple[Tensor, Tensor]:
        flat = self.rows_kf3.flatten(1)
        return flat[: self.identity_codes], flat[self.identity_codes :]
