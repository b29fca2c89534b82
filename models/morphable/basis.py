"""Principal components of offsets on a mesh.

Legend: b batch, n samples, v vertices, k components.
"""

import torch
from torch import Tensor, nn

from mosar.models.precision import full_precision

_NOISE = 1e-4  # deviation, relative to the first component's, below which a component is rounding noise


class Basis(nn.Module):
    """Converts offsets (b, v, 3) in mm to coefficients (b, k) of unit variance, and back.

    Both the components and the coefficients minimise errors weighted by vertex.
    """

    mean_v3: Tensor
    rows_kv3: Tensor
    variance_k: Tensor
    weight_v: Tensor

    def __init__(self, weight_v: Tensor, components: int) -> None:
        super().__init__()
        self.register_buffer("weight_v", weight_v.clone(), persistent=False)
        self.register_buffer("mean_v3", torch.zeros(len(weight_v), 3))
        self.register_buffer("rows_kv3", torch.zeros(components, len(weight_v), 3))
        self.register_buffer("variance_k", torch.ones(components))  # squared length of the weighted rows

    def fit(self, offsets_nv3: Tensor, first_nv3: Tensor | None = None) -> None:
        """Set the mean and components to those of the samples; components beyond the samples' rank are zero.

        Args:
            first_nv3: samples whose mean and components come first, up to their rank; the others then add the
                components of what these leave of them.
        """
        self.rows_kv3.zero_()
        self.variance_k.fill_(1.0)
        leading = offsets_nv3 if first_nv3 is None else first_nv3
        self.mean_v3.copy_(leading.mean(dim=0))
        count = self._add(leading - self.mean_v3, 0)
        if first_nv3 is not None and count < len(self.rows_kv3):
            rest = offsets_nv3 - self.mean_v3 - self.to_vertices(self.coefficients(offsets_nv3))
            self._add(rest, count)

    def _add(self, centred_nv3: Tensor, start: int) -> int:
        """Write the principal components of centred samples from row ``start`` on; return where they end."""
        root_v1 = self.weight_v.sqrt()[:, None]
        flat = (centred_nv3 * root_v1).flatten(1)
        count = min(len(self.rows_kv3) - start, len(flat) - 1, flat.shape[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # svd_lowrank starts from random directions
            _, singular, right = torch.svd_lowrank(flat, q=min(count + 16, *flat.shape), niter=4)
        deviation_k = singular[:count] / len(flat) ** 0.5
        # Components of rounding noise would be divided by a variance close to zero.
        largest = deviation_k[0] if start == 0 else self.variance_k[0].sqrt()
        count = int((deviation_k > _NOISE * largest).sum())
        deviation_k = deviation_k[:count]
        self.rows_kv3[start : start + count] = (deviation_k * right[:, :count]).T.unflatten(1, (-1, 3)) / root_v1
        self.variance_k[start : start + count] = deviation_k.square()
        return start + count

    @full_precision
    def coefficients(self, offsets_bv3: Tensor) -> Tensor:
        """Coefficients (b, k) by weighted least squares; zero for missing components."""
        weighted = (offsets_bv3 - self.mean_v3) * self.weight_v[:, None]
        return weighted.flatten(1) @ self.rows_kv3.flatten(1).T / self.variance_k

    @full_precision
    def to_vertices(self, coefficients_bk: Tensor, vertices_n: Tensor | None = None) -> Tensor:
        """Offsets from the mean (b, v, 3), or (b, n, 3) of the given vertices only."""
        rows = self.rows_kv3 if vertices_n is None else self.rows_kv3[:, vertices_n]
        return (coefficients_bk @ rows.flatten(1)).unflatten(1, (-1, 3))
