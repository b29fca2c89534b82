"""Configuration of the ``intrinsics`` stage."""

from dataclasses import dataclass, field

from mosar.errors import ConfigError
from mosar.models.networks.patchgan import CriticConfig
from mosar.models.networks.unet import UNetConfig


@dataclass(frozen=True)
class Config:
    """Size of each of the four generators and weights of their losses.

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

    def __post_init__(self) -> None:
        for name, least in (("map_size", 16), ("cells", 1), ("shading_lights", 1), ("shading_stride", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected at least {least}")
        if self.shading_weight < 0:
            raise ConfigError(f"model.shading_weight: got {self.shading_weight}, expected 0 or more")
        for name in ("estimated_share", "upstream_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected a share in [0, 1]")
