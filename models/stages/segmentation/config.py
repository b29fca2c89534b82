"""Configuration of the ``segmentation`` stage."""

from dataclasses import dataclass, field

from mosar.errors import ConfigError
from mosar.models.networks.unet import UNetConfig


@dataclass(frozen=True)
class Config:
    """Size of the network and strength of its augmentation.

    Attributes:
        crop_size: side of the face crop, pixels.
        coarse_size: side of the reduced crop that the first U-Net sees; null: that of the crop.
        network: size of the first U-Net.
        eyes: size of the second U-Net, which sees the part around the eyes at full resolution, or null for none. Frames
            of glasses are one to three pixels wide.
        overlap_weight: of the loss on the overlap of each class, which counts rare classes as much as others.
        rare_weight: pixels weigh the inverse of their class's frequency to this power; with 1 all classes weigh alike.
        swapped: share of the crops whose background is replaced.
        strength: of the changes of brightness, colour, sharpness and noise.
    """

    crop_size: int = 160
    coarse_size: int | None = None
    network: UNetConfig = field(default_factory=lambda: UNetConfig(width=24, levels=4, blocks=2))
    eyes: UNetConfig | None = None
    overlap_weight: float = 1.0
    rare_weight: float = 0.5
    swapped: float = 0.5
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.crop_size < 32:
            raise ConfigError(f"model.crop_size: got {self.crop_size}, expected at least 32")
        if self.coarse_size is not None and not 32 <= self.coarse_size <= self.crop_size:
            got = f"got {self.coarse_size}, expected 32 to crop_size, which is {self.crop_size}"
            raise ConfigError(f"model.coarse_size: {got}")
        for name in ("overlap_weight", "rare_weight", "strength"):
            if getattr(self, name) < 0:
                raise ConfigError(f"model.{name}: got {getattr(self, name)}, expected 0 or more")
        if not 0 <= self.swapped <= 1:
            raise ConfigError(f"model.swapped: got {self.swapped}, expected a share in [0, 1]")
