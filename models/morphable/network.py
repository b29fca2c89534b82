"""The non-linear morphable model: a variational auto-encoder with a linear path, and linear reflectance codes.

Legend: b batch, v vertices, n some of the vertices, m principal components, k codes,
h w rows and columns of the coarse texture.
"""

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.morphable.basis import Basis
from mosar.models.morphable.config import Config
from mosar.models.precision import full_precision

Code = tuple[Tensor, Tensor]
"""Mean and log-variance, (b, k) each."""
_LOG_VARIANCE = -8.0  # initial log-variance of the codes: components tell them almost exactly


class Encoder(nn.Module):
    """Encodes components (b, m) of offsets as the mean and log-variance of a code, (b, k) each.

    The mean is linear in the components plus a non-linear residual. Before training it equals the leading components.
    """

    def __init__(self, head: Head, components: int, codes: int, config: Config) -> None:
        super().__init__()
        self.basis = Basis(vertex_weights(head, config.off_face), components)
        self.linear = nn.Linear(components, codes, bias=False)
        nn.init.eye_(self.linear.weight)
        self.log_variance = nn.Parameter(torch.full((codes,), _LOG_VARIANCE))
        self.spectral = _perceptron(components, config.hidden, 2 * codes) if config.encoder == "spectral" else None

    def forward(self, components_bm: Tensor) -> Code:
        mean, log_variance = self.linear(components_bm), self.log_variance.expand(len(components_bm), -1)
        if self.spectral is not None:
            of_mean, of_log_variance = self.spectral(components_bm).chunk(2, dim=1)
            mean, log_variance = mean + of_mean, log_variance + of_log_variance
        return mean, log_variance.clamp(-12.0, 4.0)


class Decoder(nn.Module):
    """Decodes both codes jointly to components of both bases (b, m).

    A linear path plus a non-linear residual, zero before training.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        codes = config.identity_codes + config.expression_codes
        components = config.identity_basis + config.expression_basis
        self.linear = nn.Linear(codes, components, bias=False)
        nn.init.zeros_(self.linear.weight)
        if config.start == "pca":
            with torch.no_grad():
                self.linear.weight[: config.identity_basis, : config.identity_codes].fill_diagonal_(1.0)
                self.linear.weight[config.identity_basis :, config.identity_codes :].fill_diagonal_(1.0)
        self.spectral = _perceptron(codes, config.hidden, components) if config.decoder == "spectral" else None

    def forward(self, codes_bk: Tensor) -> Tensor:
        components: Tensor = self.linear(codes_bk)
        return components if self.spectral is None else components + self.spectral(codes_bk)


class Morphable(nn.Module):
    """Maps identity and expression codes to a mesh in mm, reflectance codes to a coarse diffuse and specular texture.

    All codes are close to standard normal over people; zero codes are close to the average.
    """

    mean_neutral_v3: Tensor
    reflectance_mean: Tensor
    reflectance_basis: Tensor

    def __init__(self, head: Head, config: Config) -> None:
        super().__init__()
        self.config = config
        self.identity = Encoder(head, config.identity_basis, config.identity_codes, config)
        self.expression = Encoder(head, config.expression_basis, config.expression_codes, config)
        self.decoder = Decoder(config)
        pixels = 4 * config.texture_size**2
        self.register_buffer("mean_neutral_v3", torch.from_numpy(head.template_v3.copy()))
        self.register_buffer("reflectance_mean", torch.zeros(pixels))
        self.register_buffer("reflectance_basis", torch.zeros(config.reflectance_codes, pixels))

    def components(self, neutral_bv3: Tensor, mesh_bv3: Tensor) -> Tensor:
        """Components (b, m) of the identity, then of the expression; meshes in mm, head frame."""
        identity = self.identity.basis.coefficients(neutral_bv3 - self.mean_neutral_v3)
        return torch.cat([identity, self.expression.basis.coefficients(mesh_bv3 - neutral_bv3)], dim=1)

    def encode_components(self, components_bm: Tensor) -> tuple[Code, Code]:
        """Like :meth:`encode`, from :meth:`components`."""
        identity, expression = self._split(components_bm)
        return self.identity(identity), self.expression(expression)

    def encode(self, neutral_bv3: Tensor, mesh_bv3: Tensor) -> tuple[Code, Code]:
        """(mean, log-variance) of the identity code and of the expression code; meshes in mm, head frame."""
        return self.encode_components(self.components(neutral_bv3, mesh_bv3))

    def to_vertices(self, components_bm: Tensor, vertices_n: Tensor | None = None) -> Tensor:
        """Offsets (b, v, 3) from the average mesh, mm, or (b, n, 3) of the given vertices only."""
        identity, expression = self._split(components_bm)
        return self.identity.basis.to_vertices(identity, vertices_n) + self.expression.basis.to_vertices(
            expression, vertices_n
        )

    def average(self) -> Tensor:
        """Average mesh (v, 3), mm: average identity with the average expression."""
        return self.mean_neutral_v3 + self.identity.basis.mean_v3 + self.expression.basis.mean_v3

    def decode(self, identity_bk: Tensor, expression_bk: Tensor, vertices_n: Tensor | None = None) -> Tensor:
        """Mesh (b, v, 3) of both codes, or (b, n, 3) of the given vertices only; mm, head frame."""
        components = self.decoder(torch.cat([identity_bk, expression_bk], dim=1))
        average = self.average() if vertices_n is None else self.average()[vertices_n]
        return average + self.to_vertices(components, vertices_n)

    def decode_linear(self, identity_bk: Tensor, expression_bk: Tensor) -> Tensor:
        """Like :meth:`decode`, without the non-linear residual."""
        return self.average() + self.to_vertices(self.decoder.linear(torch.cat([identity_bk, expression_bk], dim=1)))

    def _split(self, components_bm: Tensor) -> tuple[Tensor, Tensor]:
        identity, expression = components_bm.split([self.config.identity_basis, self.config.expression_basis], dim=1)
        return identity, expression

    def rest(self) -> Tensor:
        """Components (1, m) of the neutral expression."""
        return self.expression.basis.coefficients(torch.zeros_like(self.mean_neutral_v3)[None])

    def neutral_code(self) -> Tensor:
        """The expression code (1, k) of a neutral face."""
        mean: Tensor = self.expression(self.rest())[0]
        return mean

    @torch.no_grad()
    def fit_shape(self, neutral_nv3: Tensor, mesh_nv3: Tensor, scanned_nv3: Tensor | None = None) -> None:
        """Set the means and principal components of both bases from samples, mm.

        Args:
            scanned_nv3: neutral meshes of scanned people, whose mean and components come first.
        """
        self.mean_neutral_v3.copy_((neutral_nv3 if scanned_nv3 is None else scanned_nv3).mean(dim=0))
        first = None if scanned_nv3 is None else scanned_nv3 - self.mean_neutral_v3
        self.identity.basis.fit(neutral_nv3 - self.mean_neutral_v3, first)
        self.expression.basis.fit(mesh_nv3 - neutral_nv3)

    @full_precision
    def reflectance(self, codes_bk: Tensor) -> tuple[Tensor, Tensor]:
        """Linear diffuse albedo (b, 3, s, s) and specular (b, 1, s, s), both in [0, 1], of a reflectance code."""
        size = self.config.texture_size
        flat = self.reflectance_mean + codes_bk @ self.reflectance_basis
        maps = flat.reshape(-1, 4, size, size).clamp(0.0, 1.0)
        return to_linear(maps[:, :3]), maps[:, 3:]

    @full_precision
    def reflectance_code(self, diffuse_b3hw: Tensor, specular_b1hw: Tensor) -> Tensor:
        """Least-squares code (b, k) of linear diffuse and specular maps; the basis has orthogonal rows."""
        flat = _reflectance_vector(diffuse_b3hw, specular_b1hw, self.config.texture_size) - self.reflectance_mean
        return (flat @ self.reflectance_basis.T) / self.reflectance_basis.square().sum(dim=1).clamp_min(1e-8)

    def fit_reflectance(self, diffuse_b3hw: Tensor, specular_b1hw: Tensor) -> None:
        """Set mean and basis by PCA of maps. Rows are scaled by their standard deviation; missing rows are zero."""
        flat = _reflectance_vector(diffuse_b3hw, specular_b1hw, self.config.texture_size)
        self.reflectance_mean.copy_(flat.mean(dim=0))
        _, singular, basis = torch.linalg.svd(flat - self.reflectance_mean, full_matrices=False)
        # The last direction of a centred set has no variance, only rounding noise.
        count = min(self.config.reflectance_codes, len(flat) - 1)
        self.reflectance_basis.zero_()
        self.reflectance_basis[:count] = basis[:count] * singular[:count, None] / max(len(flat) - 1, 1) ** 0.5


def _reflectance_vector(diffuse_b3hw: Tensor, specular_b1hw: Tensor, size: int) -> Tensor:
    # Albedo is compared in sRGB, which is close to perception, so that the least squares do not neglect dark skin.
    maps = torch.cat([to_srgb(diffuse_b3hw), specular_b1hw], dim=1)
    return torch.nn.functional.interpolate(maps, size=(size, size), mode="area").flatten(1)


def vertex_weights(head: Head, off_face: float) -> Tensor:
    """Weights (v): one on the face; elsewhere ``off_face``, but at least 1e-4."""
    face = torch.tensor(head.region("face"))
    return torch.where(face, 1.0, max(off_face, 1e-4))


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """A perceptron with two hidden layers whose output is zero before training."""
    last = nn.Linear(hidden, outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), last)
