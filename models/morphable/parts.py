"""Non-linear residuals as graph convolutions: one encoder for each part, one joint decoder.

Legend: b batch, v vertices, n vertices of a part, k codes.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from mosar.models.head import Head
from mosar.models.morphable.config import Config
from mosar.models.morphable.graph import (
    ChebConv,
    SparseLinear,
    adjacency,
    cluster,
    pooling,
    scaled_laplacian,
    unpooling,
)

_UNIT_MM = 3.0  # approximate standard deviation of an offset over people


class PartEncoder(nn.Module):
    """Maps offsets of one part's vertices (b, n, 3), mm, to features (b, f)."""

    def __init__(self, head: Head, vertices_n: np.ndarray, config: Config) -> None:
        super().__init__()
        points = head.template_v3[vertices_n]
        graph = adjacency(head.triangles_f3, len(head.template_v3))[vertices_n][:, vertices_n]
        middle = cluster(points, max(config.pooled, len(points) // 4))
        to_middle = pooling(points, middle)
        pooled_graph = to_middle @ graph @ to_middle.T
        pooled_graph.data[:] = 1.0
        final = cluster(points[middle], config.pooled)
        self.convolve_fine = ChebConv(SparseLinear(scaled_laplacian(graph)), 3, config.width, config.order)
        self.pool_middle = SparseLinear(to_middle)
        self.convolve_middle = ChebConv(
            SparseLinear(scaled_laplacian(pooled_graph)), config.width, 2 * config.width, config.order
        )
        self.pool_final = SparseLinear(pooling(points[middle], final))
        self.features = 2 * config.width * len(final)

    def forward(self, offsets_bn3: Tensor) -> Tensor:
        x = self.pool_middle(elu(self.convolve_fine(offsets_bn3 / _UNIT_MM)))
        return self.pool_final(elu(self.convolve_middle(x))).flatten(1)


class PartsResidual(nn.Module):
    """Encodes each part separately; a part provides its own share of the means and log-variances in (b, k)."""

    def __init__(self, head: Head, outputs: int, config: Config) -> None:
        super().__init__()
        vertices = [np.flatnonzero(head.part_v == p) for p in range(len(head.part_names))]
        self._vertices = [torch.from_numpy(v) for v in vertices if len(v)]
        parts = [PartEncoder(head, v, config) for v in vertices if len(v)]
        shares = np.array_split(np.arange(outputs // 2), len(parts))
        latents = [nn.Linear(part.features, 2 * len(share)) for part, share in zip(parts, shares, strict=True)]
        for latent in latents:
            nn.init.zeros_(latent.weight)
            nn.init.zeros_(latent.bias)
        self.parts, self.latents = nn.ModuleList(parts), nn.ModuleList(latents)

    def forward(self, offsets_bv3: Tensor) -> Tensor:
        pairs = [
            latent(part(offsets_bv3[:, index])).chunk(2, dim=1)
            for part, latent, index in zip(self.parts, self.latents, self._vertices, strict=True)
        ]
        return torch.cat([m for m, _ in pairs] + [s for _, s in pairs], dim=1)


class JointResidual(nn.Module):
    """Maps codes (b, k) to offsets (b, v, 3), mm: convolves on coarse, then on all vertices. Zero before training."""

    def __init__(self, head: Head, codes: int, config: Config) -> None:
        super().__init__()
        vertices = len(head.template_v3)
        centres = cluster(head.template_v3, config.decoder_vertices)
        graph = adjacency(head.triangles_f3, vertices)
        to_coarse = pooling(head.template_v3, centres)
        coarse_graph = to_coarse @ graph @ to_coarse.T
        coarse_graph.setdiag(0)
        coarse_graph.eliminate_zeros()
        coarse_graph.data[:] = 1.0
        width = 2 * config.width
        self.expand = nn.Linear(codes, width * len(centres))
        self.convolve_coarse = ChebConv(SparseLinear(scaled_laplacian(coarse_graph)), width, width, config.order)
        self.up = SparseLinear(unpooling(head.template_v3, centres))
        fine = SparseLinear(scaled_laplacian(graph))
        self.convolve_fine = ChebConv(fine, width, config.width, 3)
        self.out = ChebConv(fine, config.width, 3, 3)
        nn.init.zeros_(self.out.linear.weight)
        nn.init.zeros_(self.out.linear.bias)

    def forward(self, codes_bk: Tensor) -> Tensor:
        x = elu(self.expand(codes_bk)).unflatten(1, (-1, self.convolve_coarse.linear.out_features))
        x = self.up(elu(self.convolve_coarse(x)))
        return _UNIT_MM * self.out(elu(self.convolve_fine(x)))
