"""The average skin on the average head, and a fit of the light under which it resembles a given texture.

Shapes: b batch, h w the map.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mosar.models.precision import full_precision
from mosar.models.shading import sh
from mosar.models.texture_space.captured_skin import CapturedSkin, light_normalized
from mosar.models.vectors import unit

_BANDS = 3  # SH bands of the fit; they carry 99 % of the irradiance
_STRIDE = 4  # the fit uses every fourth row and column of texels, because shading is smooth
_RIDGE = 0.1  # ridge penalty on the directional bands, relative to the constant band's entry of the Gram matrix
_DARK = 0.02  # lower bound of the shading


class AverageSkin(nn.Module):
    """Statistics of the training captures.

    Attributes:
        even_13hw: the mean light-normalised texture, linear.
        normal_13hw: the mean of the meshes' normals, unit, head frame.
        inside_11hw: 1 where the chart has skin.
    """

    even_13hw: Tensor
    normal_13hw: Tensor
    inside_11hw: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("even_13hw", torch.full((1, 3, size, size), 0.25))
        self.register_buffer(
            "normal_13hw", torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(1, 3, size, size).clone()
        )
        self.register_buffer("inside_11hw", torch.ones(1, 1, size, size))

    @torch.no_grad()
    def fit(self, skins: Iterable[CapturedSkin]) -> None:
        """Set the attributes to the means over batches of captures."""
        even, normal, count = torch.zeros_like(self.even_13hw), torch.zeros_like(self.normal_13hw), 0
        for skin in skins:
            even += light_normalized(skin).sum(dim=0, keepdim=True)
            normal += skin.surface.normal_b3hw.sum(dim=0, keepdim=True)
            count += len(skin.diffuse_b3hw)
            self.inside_11hw.copy_(skin.inside_11hw)
        self.even_13hw.copy_(even / count)
        self.normal_13hw.copy_(unit(normal))

    @full_precision
    def fit_lighting(self, texture_b3hw: Tensor, weight_b1hw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the average skin lit like the texture, and its shading (irradiance / pi), both (b, 3, h, w).

        Ridge regression finds bands 0 to 2 of the light that minimises ``|even * shading - texture|^2``. One texture
        does not separate the skin's brightness and colour from those of the light, so the shading contains both.

        Args:
            texture_b3hw: linear, of any size.
            weight_b1hw: weight of each texel; texels outside the chart have weight zero.
        """
        size = texture_b3hw.shape[-2:]
        even, normal, inside = (_resized(m, size) for m in (self.even_13hw, self.normal_13hw, self.inside_11hw))
        few = (..., slice(None, None, _STRIDE), slice(None, None, _STRIDE))
        weight = (weight_b1hw * inside)[few].flatten(2)[..., None]
        # Columns (1, 3, n, 9): contribution of each coefficient to each channel of each texel.
        columns = even[few].flatten(2)[..., None] * _basis(normal[few])[:, None]
        weighted = (columns * weight / weight.sum(dim=2, keepdim=True).clamp_min(1e-6)).mT
        gram, right = weighted @ columns, weighted @ texture_b3hw[few].flatten(2)[..., None]
        pull = torch.full((_BANDS**2,), _RIDGE, device=gram.device, dtype=gram.dtype)
        pull[0] *= 1e-2
        light = torch.linalg.solve(gram + gram[..., :1, :1].clamp_min(1e-6) * pull.diag(), right)
        lit = (_basis(normal)[:, None] @ light)[..., 0].unflatten(-1, size).clamp_min(_DARK)
        return even * lit, lit

    def shade_with(self, texture_b3hw: Tensor, weight_b1hw: Tensor, shading_b3hw: Tensor) -> Tensor:
        """Return the average skin (b, 3, h, w) under a given shading, scaled by one gain per channel.

        The gain is the weighted least-squares fit to the texture, with weights ``weight_b1hw``.
        """
        size = texture_b3hw.shape[-2:]
        even, inside = (_resized(m, size) for m in (self.even_13hw, self.inside_11hw))
        lit, weight = even * shading_b3hw, weight_b1hw * inside
        both, own = ((weight * lit * other).mean(dim=(2, 3), keepdim=True) for other in (texture_b3hw, lit))
        return lit * (both / own.clamp_min(1e-8))


def _basis(normal_b3hw: Tensor) -> Tensor:
    """Spherical harmonics (b, n, 9) of unit normals, scaled so that the first is one."""
    return sh.evaluate(normal_b3hw.flatten(2).mT, _BANDS) / 0.28209479177387814


def _resized(maps_bchw: Tensor, size: torch.Size) -> Tensor:
    return maps_bchw if maps_bchw.shape[-2:] == size else interpolate(maps_bchw, size=size, mode="bilinear")
