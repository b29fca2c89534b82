"""The non-linear morphable model: a part-wise graph-convolutional VAE with a joint decoder, and a reflectance code.

Legend: b batch, v vertices, k codes, h w rows and columns of the coarse texture.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import elu

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.stages.morphable.config import Config
from mosar.models.stages.morphable.graph import (
    ChebConv,
    SparseLinear,
    adjacency,
    cluster,
    pooling,
    scaled_laplacian,
    unpooling,
)


class PartEncoder(nn.Module):
    """Standardised offsets of one part's vertices (b, n, 3) to the mean and log-variance of its latents (b, k) each."""

    def __init__(self, head: Head, vertices_n: np.ndarray, codes: int, config: Config) -> None:
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
        self.latent = nn.Linear(2 * config.width * len(final), 2 * codes)
        self.linear_path = nn.Linear(3 * len(points), codes, bias=False)

    def forward(self, offsets_bn3: Tensor) -> tuple[Tensor, Tensor]:
        x = self.pool_middle(elu(self.convolve_fine(offsets_bn3)))
        x = self.pool_final(elu(self.convolve_middle(x)))
        mean, log_variance = self.latent(x.flatten(1)).chunk(2, dim=1)
        return mean + self.linear_path(offsets_bn3.flatten(1)), log_variance.clamp(-8.0, 4.0)


class Encoder(nn.Module):
    """Parts encoded apart, their latents side by side in one code of exactly ``codes`` numbers."""

    def __init__(self, head: Head, codes: int, config: Config) -> None:
        super().__init__()
        parts = [np.flatnonzero(head.part_v == p) for p in range(len(head.part_names))]
        self._vertices = [torch.from_numpy(p) for p in parts]
        share = [len(s) for s in np.array_split(np.arange(codes), len(parts))]
        self.parts = nn.ModuleList(
            PartEncoder(head, vertices, n, config) for vertices, n in zip(parts, share, strict=True)
        )

    def forward(self, offsets_bv3: Tensor) -> tuple[Tensor, Tensor]:
        pairs = [part(offsets_bv3[:, index]) for part, index in zip(self.parts, self._vertices, strict=True)]
        return torch.cat([m for m, _ in pairs], dim=1), torch.cat([s for _, s in pairs], dim=1)


class Decoder(nn.Module):
    """Both codes together to standardised offsets: a linear path plus a graph-convolutional residual."""

    def __init__(self, head: Head, config: Config) -> None:
        super().__init__()
        vertices = len(head.template_v3)
        centres = cluster(head.template_v3, config.decoder_vertices)
        graph = adjacency(head.triangles_f3, vertices)
        to_coarse = pooling(head.template_v3, centres)
        coarse_graph = to_coarse @ graph @ to_coarse.T
        coarse_graph.setdiag(0)
        coarse_graph.eliminate_zeros()
        coarse_graph.data[:] = 1.0
        codes, width = config.identity_codes + config.expression_codes, 2 * config.width
        self.linear_path = nn.Linear(codes, 3 * vertices, bias=False)
        nn.init.zeros_(self.linear_path.weight)
        self.expand = nn.Linear(codes, width * len(centres))
        self.convolve_coarse = ChebConv(SparseLinear(scaled_laplacian(coarse_graph)), width, width, config.order)
        self.up = SparseLinear(unpooling(head.template_v3, centres))
        fine = SparseLinear(scaled_laplacian(graph))
        self.convolve_fine = ChebConv(fine, width, config.width, 3)
        self.out = ChebConv(fine, config.width, 3, 3)
        nn.init.zeros_(self.out.linear.weight)
        nn.init.zeros_(self.out.linear.bias)

    def forward(self, codes_bk: Tensor) -> Tensor:
        b = len(codes_bk)
        x = elu(self.expand(codes_bk)).reshape(b, -1, self.convolve_coarse.linear.out_features)
        x = self.up(elu(self.convolve_coarse(x)))
        residual = self.out(elu(self.convolve_fine(x)))
        return self.linear_path(codes_bk).reshape(b, -1, 3) + residual


class Morphable(nn.Module):
    """Identity code, expression code -> head mesh in mm; reflectance code -> coarse diffuse and specular texture.

    All codes are close to standard normal over people; zero is the average.
    """

    mean_neutral_v3: Tensor
    offset_mm: Tensor
    mean_expression_v3: Tensor
    reflectance_mean: Tensor
    reflectance_basis: Tensor

    def __init__(self, head: Head, config: Config) -> None:
        super().__init__()
        self.config = config
        self.identity = Encoder(head, config.identity_codes, config)
        self.expression = Encoder(head, config.expression_codes, config)
        self.decoder = Decoder(head, config)
        pixels = 4 * config.texture_size**2
        self.register_buffer("mean_neutral_v3", torch.from_numpy(head.template_v3.copy()))
        self.register_buffer("mean_expression_v3", torch.zeros_like(self.mean_neutral_v3))
        self.register_buffer("offset_mm", torch.ones(2))  # root mean square offset: identity, expression
        self.register_buffer("reflectance_mean", torch.zeros(pixels))
        self.register_buffer("reflectance_basis", torch.zeros(config.reflectance_codes, pixels))

    def encode(self, neutral_bv3: Tensor, mesh_bv3: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """(mean, log-variance) of the identity code and of the expression code; meshes in mm, head frame."""
        identity = (neutral_bv3 - self.mean_neutral_v3) / self.offset_mm[0]
        expression = (mesh_bv3 - neutral_bv3) / self.offset_mm[1]
        return self.identity(identity), self.expression(expression)

    def decode(self, identity_bk: Tensor, expression_bk: Tensor) -> Tensor:
        """Mesh (b, v, 3) in mm, head frame, from an identity and an expression code."""
        offsets = self.decoder(torch.cat([identity_bk, expression_bk], dim=1))
        return self.mean_neutral_v3 + self.mean_expression_v3 + self.offset_mm[0] * offsets

    def neutral_code(self) -> Tensor:
        """The expression code (1, k) of a neutral face."""
        return self.expression(torch.zeros_like(self.mean_neutral_v3)[None])[0]

    def reflectance(self, codes_bk: Tensor) -> tuple[Tensor, Tensor]:
        """Linear diffuse albedo (b, 3, s, s) and specular (b, 1, s, s), both in [0, 1], of a reflectance code."""
        size = self.config.texture_size
        flat = self.reflectance_mean + codes_bk @ self.reflectance_basis
        maps = flat.reshape(-1, 4, size, size).clamp(0.0, 1.0)
        return to_linear(maps[:, :3]), maps[:, 3:]

    def reflectance_code(self, diffuse_b3hw: Tensor, specular_b1hw: Tensor) -> Tensor:
        """Least-squares code of linear diffuse and specular maps; rows of the basis are orthogonal."""
        flat = _reflectance_vector(diffuse_b3hw, specular_b1hw, self.config.texture_size) - self.reflectance_mean
        return (flat @ self.reflectance_basis.T) / self.reflectance_basis.square().sum(dim=1).clamp_min(1e-8)

    def fit_reflectance(self, diffuse_b3hw: Tensor, specular_b1hw: Tensor) -> None:
        """Set mean and basis by PCA of maps; rows are scaled by their standard deviation, missing ones stay zero."""
        flat = _reflectance_vector(diffuse_b3hw, specular_b1hw, self.config.texture_size)
        self.reflectance_mean.copy_(flat.mean(dim=0))
        _, singular, basis = torch.linalg.svd(flat - self.reflectance_mean, full_matrices=False)
        # The last direction of a centred set has no variance: only rounding noise would come of it.
        count = min(self.config.reflectance_codes, len(flat) - 1)
        self.reflectance_basis.zero_()
        self.reflectance_basis[:count] = basis[:count] * singular[:count, None] / max(len(flat) - 1, 1) ** 0.5


def _reflectance_vector(diffuse_b3hw: Tensor, specular_b1hw: Tensor, size: int) -> Tensor:
    # Albedo is compared as the eye sees it (sRGB), so that dark skin is not lost in the least squares.
    maps = torch.cat([to_srgb(diffuse_b3hw), specular_b1hw], dim=1)
    return torch.nn.functional.interpolate(maps, size=(size, size), mode="area").flatten(1)
