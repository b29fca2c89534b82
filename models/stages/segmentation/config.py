"""Configuration of the ``segmentation`` stage."""

from dataclasses import dataclass, field

from mosar.errors import ConfigError
from mosar.models.networks.unet import UNetConfig
from mosar.models.stages.limits import at_least, shares


@dataclass(frozen=True)
class Config:
    """Size of the network and strength of its augmentation.

    Attributes:
        crop_size: side of the face crop, pixels.
        coarse_size: side of the reduced crop that the first U-Net sees; null: that of the crop.
        network: size of the first U-Net.
        eyes: size of the second U-Net, which sees the part around the eyes at full resolution, or null for none. Frames
            of glasses are one to three pixels wide.
        eyes_alone: train the network around the eyes alone; the first one stays as ``warm_start`` gave it.
        overlap_weight: of the loss on the overlap of each class, which counts rare classes as much as others.
        rare_weight: pixels weigh the inverse of their class's frequency to this power; with 1 all classes weigh alike.
        swapped: share of the crops whose background is replaced.
        faded: share of the crops in which frames of glasses come near the colours around them.
        strength: of the changes of brightness, colour, sharpness and noise.
    """

    crop_size: int = 160
    coarse_size: int | None = None
    network: UNetConfig = field(default_factory=lambda: UNetConfig(width=24, levels=4, blocks=2))
    eyes: UNetConfig | None = None
    eyes_alone: bool = False
    overlap_weight: float = 1.0
    rare_weight: float = 0.5
    swapped: float = 0.5
    faded: float = 0.5
    strength: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, 32, "crop_size")
        if self.coarse_size is not None and not 32 <= self.coarse_size <= self.crop_size:
            got = f"got {self.coarse_size}, expected 32 to crop_size, which is {self.crop_size}"
            raise ConfigError(f"model.coarse_size: {got}")
        if self.eyes_alone and self.eyes is None:
            raise ConfigError("model.eyes_alone: got true without model.eyes, expected sizes of that network")
        at_least(self, 0, "overlap_weight", "rare_weight", "strength")
        shares(self, "swapped", "faded")
