"""Configuration of the ``delight`` stage."""

from dataclasses import dataclass, field

from mosar.errors import ConfigError
from mosar.models.networks.patchgan import CriticConfig
from mosar.models.networks.unet import UNetConfig


@dataclass(frozen=True)
class Config:
    """Sizes of the light-removing network, weights of its losses, and statistics of its simulated photographs.

    Attributes:
        map_size: side of the maps, texels.
        network: size of the U-Net.
        critic: patch discriminator of the adversarial loss; null trains without one.
        gain_cell: texels a side of the cells over which the gain is averaged before it is interpolated.
        shading_share: share of the captures that come with an estimate of their light.
        shading_noise: deviation of that estimate, relative to the light's own deviation in each band.
        mirrored_share: share of the captures whose hidden texels are replaced by ``fill``.
        gradient_weight: weight of the loss on the gradients of the maps.
    """

    map_size: int = 256
    network: UNetConfig = field(default_factory=UNetConfig)
    critic: CriticConfig | None = field(default_factory=CriticConfig)
    gain_cell: int = 4
    shading_share: float = 0.75
    shading_noise: float = 0.2
    mirrored_share: float = 0.5
    gradient_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.map_size < 16 or self.gain_cell < 1:
            got = (self.map_size, self.gain_cell)
            raise ConfigError(f"model.map_size, gain_cell: got {got}, expected at least (16, 1)")
        for name in ("shading_noise", "gradient_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected 0 or more")
        for name in ("shading_share", "mirrored_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected a share in [0, 1]")
