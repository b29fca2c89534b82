"""Configuration of the ``normals`` stage."""

from dataclasses import dataclass, field

from mosar.errors import ConfigError
from mosar.models.networks.unet import UNetConfig
from mosar.models.stages.limits import at_least, shares


@dataclass(frozen=True)
class Config:
    """Sizes of the patch basis, its regressor and the refinement network, and weights of the losses.

    Attributes:
        map_size: side of the map, texels; a multiple of half a patch.
        patch: texels a side of a patch, a power of two; neighbours overlap by half.
        components: principal components per place, at most.
        features: channels from which the coefficients of a place are regressed.
        network: size of the refinement U-Net; the regressor of the coefficients shares its width and blocks.
        cosine_weight: weight of the loss on the angle between normals.
        gradient_weight: weight of the loss on the gradients of the maps.
        base_weight: of the cosine loss of the patches' unrefined prediction.
        estimated_share: share of the captures that are seen through a bundle's estimate of their own picture, which
            then has to be in the data (``make_shards.py source=estimates``); the others are lit anew.
        upstream_share: share of the batches whose input is what ``completion`` and ``delight`` make of the photographs,
            in place of the true texture; they are then required.
    """

    map_size: int = 256
    patch: int = 16
    components: int = 32
    features: int = 64
    network: UNetConfig = field(default_factory=UNetConfig)
    cosine_weight: float = 200.0
    gradient_weight: float = 1.0
    base_weight: float = 1.0
    estimated_share: float = 0.0
    upstream_share: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 1, "components", "features")
        if self.patch < 4 or self.patch & (self.patch - 1):
            raise ConfigError(f"model.patch: got {self.patch}, expected a power of two, at least 4")
        if self.map_size < self.patch or self.map_size % (self.patch // 2):
            half = self.patch // 2
            raise ConfigError(f"model.map_size: got {self.map_size}, expected a multiple of half a patch, {half}")
        at_least(self, 0, "cosine_weight", "gradient_weight", "base_weight")
        shares(self, "estimated_share", "upstream_share")
