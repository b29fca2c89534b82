"""The generators of ``intrinsics``. Shapes: b batch, h w rows and columns."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mosar.models.colour import to_srgb
from mosar.models.losses import resized
from mosar.models.networks import bilateral_grid
from mosar.models.networks.bilateral_grid import Correction
from mosar.models.networks.patchgan import PatchDiscriminator
from mosar.models.networks.unet import UNet
from mosar.models.stages.intrinsics.config import Config
from mosar.models.texture_space import even_gloss
from mosar.models.texture_space.lighting import SPECULAR

SCALARS = ("specular", "ao", "translucency")
"""Maps of one channel whose training means are kept; that of the occlusion is part of the baseline alone."""
_LEARNT = ("specular", "translucency")
_EDGE = 0.01  # keeps logits finite
OPEN = 0.4
"""Least ambient occlusion by which the texture is divided."""


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """Reflectance on the chart: albedo (linear RGB), specular, ambient occlusion and translucency, all in [0, 1]."""

    diffuse_b3hw: Tensor
    specular_b1hw: Tensor
    ao_b1hw: Tensor
    translucency_b1hw: Tensor

    def stacked(self) -> Tensor:
        """(b, 6, h, w) in [0, 1]: sRGB-encoded albedo, then the three linear maps."""
        scalars = (self.specular_b1hw, self.ao_b1hw, self.translucency_b1hw)
        return torch.cat([to_srgb(self.diffuse_b3hw), *scalars], dim=1)


class IntrinsicsNetwork(nn.Module):
    """One network per map but the occlusion; each corrects a first estimate.

    The albedo's first estimate is the even texture divided by the occlusion, without its gloss; the network corrects it
    by gains and offsets on a coarse grid, so that the photograph's detail stays as it is. Specular and
    translucency start from the training means; their networks correct them in logits. The occlusion comes from
    the person's own geometry (:mod:`~mosar.models.reconstruct.own_occlusion`): five networks that corrected it made it
    worse by 1.4 to 3.4 dB.
    """

    mean_diffuse_13hw: Tensor
    mean_scalars_13hw: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.map_size
        self.diffuse = Correction(4, 3, config.cells, config.network)
        self.generators = nn.ModuleDict({name: UNet(4, 1, config.network) for name in _LEARNT})
        for network in self.generators.values():
            assert isinstance(network, UNet)
            for parameter in (*network.last.parameters(), *network.tone[-1].parameters()):
                nn.init.zeros_(parameter)
        self.critic = PatchDiscriminator(9, config.critic) if config.critic else None
        self.register_buffer("mean_diffuse_13hw", torch.full((1, 3, size, size), 0.5))
        self.register_buffer("mean_scalars_13hw", torch.full((1, 3, size, size), 0.5))

    def forward(self, texture_b3hw: Tensor, ao_b1hw: Tensor) -> Intrinsics:
        """Split an even texture (linear, in [0, 1], of any size); ``ao_b1hw``: occlusion by the person's geometry."""
        texture = texture_b3hw.clamp(0.0, 1.0)
        specular, translucency = self.scalars(texture, ao_b1hw, ao_b1hw)
        diffuse = self.albedo(self.grid(texture, ao_b1hw), texture, ao_b1hw).clamp(0.0, 1.0)
        return Intrinsics(diffuse, specular, ao_b1hw, translucency)

    def scalars(self, texture_b3hw: Tensor, ao_b1hw: Tensor, like_bctt: Tensor) -> list[Tensor]:
        """Specular and translucency (b, 1, t, t); of ``like`` only the size counts."""
        means = resized(self.mean_scalars_13hw, like_bctt).expand(len(ao_b1hw), -1, -1, -1).split(1, dim=1)
        first = dict(zip(SCALARS, means, strict=True))
        seen = torch.cat([to_srgb(texture_b3hw), ao_b1hw], dim=1)
        return [
            (first[name].clamp(_EDGE, 1.0 - _EDGE).logit() + resized(generator(seen).float(), like_bctt)).sigmoid()
            for name, generator in self.generators.items()
        ]

    def grid(self, texture_b3hw: Tensor, ao_b1hw: Tensor) -> Tensor:
        """The grid of corrections of the albedo."""
        found: Tensor = self.diffuse(torch.cat([to_srgb(texture_b3hw), ao_b1hw], dim=1))
        return found

    @staticmethod
    def first_albedo(texture_b3hw: Tensor, ao_b1hw: Tensor) -> Tensor:
        """The albedo without learning."""
        return texture_b3hw / ao_b1hw.clamp_min(OPEN) - even_gloss(SPECULAR).to(texture_b3hw)

    @staticmethod
    def albedo(grid_bgdhw: Tensor, texture_b3hw: Tensor, ao_b1hw: Tensor) -> Tensor:
        """The albedo of an even texture of any size, with its occlusion at that size; not clipped."""
        first = IntrinsicsNetwork.first_albedo(texture_b3hw, ao_b1hw)
        guide = to_srgb(texture_b3hw.clamp(0.0, 1.0)).mean(dim=1, keepdim=True)
        return bilateral_grid.apply(grid_bgdhw, first.clamp_min(0.0), guide)
