"""The four generators of ``intrinsics``. Shapes: b batch, h w rows and columns."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.losses import resized
from mosar.models.networks.patchgan import PatchDiscriminator
from mosar.models.networks.unet import UNet
from mosar.models.stages.intrinsics.config import Config

SCALARS = ("specular", "ao", "translucency")
_EDGE = 0.01  # keeps logits finite
_OPEN = 0.5  # mean ambient occlusion from which on the albedo's initial estimate comes from the texture alone


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
    """One network per map; each corrects an initial estimate in logits.

    The albedo's initial estimate is the texture divided by the mean occlusion; the others start at the training means.
    """

    mean_diffuse_13hw: Tensor
    mean_scalars_13hw: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        size = config.map_size

        def network(outputs: int) -> UNet:
            return UNet(3, outputs, config.network)

        self.generators = nn.ModuleDict({"diffuse": network(3)} | {name: network(1) for name in SCALARS})
        self.critic = PatchDiscriminator(9, config.critic) if config.critic else None
        self.register_buffer("mean_diffuse_13hw", torch.full((1, 3, size, size), 0.5))
        self.register_buffer("mean_scalars_13hw", torch.full((1, 3, size, size), 0.5))

    def forward(self, texture_b3hw: Tensor) -> Intrinsics:
        """Split a texture under uniform white light (linear, in [0, 1], of any size)."""
        texture = texture_b3hw.clamp(0.0, 1.0)
        encoded = to_srgb(texture)
        means = resized(self.mean_scalars_13hw, encoded).expand_as(encoded).split(1, dim=1)
        first = dict(zip(SCALARS, means, strict=True))
        # Where hardly any light arrives, the texture does not determine the albedo: use the training mean there.
        trust = (first["ao"] / _OPEN).clamp_max(1.0)
        albedo = texture / first["ao"].clamp_min(_OPEN)
        first["diffuse"] = to_srgb(torch.lerp(resized(self.mean_diffuse_13hw, encoded), albedo, trust).clamp(0.0, 1.0))
        found = {
            name: (first[name].clamp(_EDGE, 1.0 - _EDGE).logit() + generator(encoded)).sigmoid()
            for name, generator in self.generators.items()
        }
        return Intrinsics(to_linear(found["diffuse"]), found["specular"], found["ao"], found["translucency"])
