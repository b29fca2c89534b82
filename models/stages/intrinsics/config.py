"""Configuration of the ``intrinsics`` stage."""

from dataclasses import dataclass, field

from mosar.errors import ConfigError
from mosar.models.networks.patchgan import CriticConfig
from mosar.models.networks.unet import UNetConfig
from mosar.models.stages.limits import at_least, shares


@dataclass(frozen=True)
class Config:
    """Size of each of the generators and weights of their losses.

    Attributes:
        map_size: side of the maps, texels.
        cells: side of the grid of corrections of the albedo.
        network: size of the U-Net.
        critic: patch discriminator of the adversarial loss; null trains without one.
        shading_weight: of the joint loss through the shading; 0 switches it off.
        shading_lights: random lights over which that loss is averaged.
        shading_stride: that loss uses every n-th texel of rows and columns.
        estimated_share: share of the captures that are seen through a bundle's estimate of their own picture, which
            then has to be in the data (``make_shards.py source=estimates``); the others are lit anew.
        upstream_share: share of the batches whose input is what ``completion`` and ``delight`` make of the photographs,
            in place of the true texture; they are then required.
        photograph_share: share of each batch that are photographs without truth, as ``make_shards.py source=estimates``
            unwraps them, after ``completion`` and ``delight``; 0 trains without the stream ``wild``.
        photograph_weight: weight of their loss: what the albedo changes that no other light would explain.
    """

    map_size: int = 256
    cells: int = 32
    network: UNetConfig = field(default_factory=UNetConfig)
    critic: CriticConfig | None = field(default_factory=CriticConfig)
    shading_weight: float = 1.0
    shading_lights: int = 2
    shading_stride: int = 1
    estimated_share: float = 0.0
    upstream_share: float = 0.0
    photograph_share: float = 0.0
    photograph_weight: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, 16, "map_size")
        at_least(self, 1, "cells", "shading_lights", "shading_stride")
        at_least(self, 0, "shading_weight", "photograph_weight")
        shares(self, "estimated_share", "upstream_share")
        shares(self, "photograph_share", whole=False)
        if self.photograph_share and not self.upstream_share:
            raise ConfigError(
                "model.upstream_share: got 0, expected more: photographs have no even textures of their own"
            )
