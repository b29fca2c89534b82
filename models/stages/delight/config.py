"""Configuration of the ``delight`` stage."""

from dataclasses import dataclass, field

from mosar.errors import ConfigError
from mosar.models.networks.patchgan import CriticConfig
from mosar.models.networks.unet import UNetConfig
from mosar.models.stages.limits import at_least, shares


@dataclass(frozen=True)
class Config:
    """Sizes of the correcting network, weights of its losses, and statistics of its simulated photographs.

    Attributes:
        map_size: side of the maps, texels.
        cells: side of the grid of corrections.
        network: size of the U-Net.
        estimated_share: share of the captures that are seen through a bundle's estimate of their own picture, which
            then has to be in the data (``make_shards.py source=estimates``); the others are lit anew.
        photograph_share: share of each batch that are photographs without truth, as ``make_shards.py source=estimates``
            unwraps them; 0 trains without the stream ``wild``.
        photograph_weight: weight of their loss: what the correction changes that no other light would explain.
        unexplained_weight: weight of the like loss on captures, beside that on their truth. Cast shadows and damage of
            the picture count as unexplained there, so it holds corrections back: for networks that learn for seconds.
        light_weight: weight of the square of what is left of the light in a batch, on average: a network that is unsure
            of the light would otherwise take off too little.
        source_flag: tell the network which textures are of captures, whose pictures differ from photographs; inference
            tells it that every picture is a photograph. Half of the captures are given as photographs, so that it
            learns to remove the light from those too.
        critic: patch discriminator that tells even textures of photographs from true ones of captures; null trains
            without one. It needs photographs.
        mirrored_share: share of the captures whose hidden texels are filled without learning.
        gradient_weight: weight of the loss on the gradients of the maps.
    """

    map_size: int = 128
    cells: int = 32
    network: UNetConfig = field(default_factory=UNetConfig)
    estimated_share: float = 0.0
    photograph_share: float = 0.0
    photograph_weight: float = 1.0
    unexplained_weight: float = 0.0
    light_weight: float = 0.0
    source_flag: bool = False
    critic: CriticConfig | None = None
    mirrored_share: float = 0.5
    gradient_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.map_size < 16 or not 1 <= self.cells <= self.map_size:
            got = (self.map_size, self.cells)
            raise ConfigError(f"model.map_size, cells: got {got}, expected at least 16 texels and 1 to map_size cells")
        at_least(self, 0, "gradient_weight", "light_weight", "photograph_weight", "unexplained_weight")
        shares(self, "estimated_share", "mirrored_share")
        shares(self, "photograph_share", whole=False)
        if self.source_flag and not self.photograph_share:
            raise ConfigError("model.source_flag: tells captures from photographs; set model.photograph_share above 0")
        if self.critic and not self.photograph_share:
            raise ConfigError("model.critic: judges photographs; set model.photograph_share above 0, or critic to null")
