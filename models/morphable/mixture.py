"""Distribution of people's codes: a mixture of Gaussians, fitted by expectation-maximisation.

Legend: n samples, c components, k codes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST_VARIANCE = 1e-3
_ITERATIONS = 200


@dataclass(frozen=True)
class Mixture:
    """Weights (c), means (c, k) and covariances (c, k, k) of the components, double precision."""

    weight_c: Tensor
    mean_ck: Tensor
    covariance_ckk: Tensor

    @staticmethod
    def of(samples_nk: Tensor, components: int = 1, seed: int = 0) -> "Mixture":
        """Fit a mixture to samples; a single component is the Gaussian of the samples."""
        from sklearn.mixture import GaussianMixture

        fitted = GaussianMixture(components, reg_covar=_LEAST_VARIANCE, max_iter=_ITERATIONS, random_state=seed)
        fitted.fit(samples_nk.double().cpu().numpy())
        return Mixture(*(torch.from_numpy(x) for x in (fitted.weights_, fitted.means_, fitted.covariances_)))

    def beside(self, other: "Mixture") -> "Mixture":
        """The mixture of this code concatenated with an independent one: one component for every pair."""
        count, size = self.mean_ck.shape
        weight = torch.outer(self.weight_c, other.weight_c).flatten()
        mean = torch.cat(
            [self.mean_ck.repeat_interleave(len(other.weight_c), 0), other.mean_ck.repeat(count, 1)], dim=1
        )
        covariance = torch.zeros(len(weight), mean.shape[1], mean.shape[1], dtype=mean.dtype)
        covariance[:, :size, :size] = self.covariance_ckk.repeat_interleave(len(other.weight_c), 0)
        covariance[:, size:, size:] = other.covariance_ckk.repeat(count, 1, 1)
        return Mixture(weight, mean, covariance)
