"""A patch discriminator (Isola et al. 2017)."""

from dataclasses import dataclass

from torch import Tensor, nn

from mosar.errors import ConfigError
from mosar.models.networks.blocks import Convolution


@dataclass(frozen=True)
class CriticConfig:
    """Size of a patch discriminator, and weight of its losses.

    Attributes:
        weight: weight of the adversarial losses.
        width: channels of the first level; they double with every level.
        levels: number of halvings of the map; with 3, a score covers a patch of about 30 texels.
    """

    weight: float = 0.02
    width: int = 32
    levels: int = 3

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ConfigError(f"critic.weight: got {self.weight}, expected more than 0 (or critic: null, without one)")
        for name in ("width", "levels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"critic.{name}: got {getattr(self, name)}, expected at least 1")


class PatchDiscriminator(nn.Module):
    """Scores maps (b, inputs, h, w) with (b, 1, h / 2^levels, w / 2^levels): high where a patch looks real."""

    def __init__(self, inputs: int, config: CriticConfig) -> None:
        super().__init__()
        width, levels = config.width, config.levels
        first = nn.Sequential(nn.Conv2d(inputs, width, 3, 2, 1), nn.SiLU())
        more = [Convolution(width * 2**i, width * 2 ** (i + 1), stride=2) for i in range(levels - 1)]
        self.body = nn.Sequential(first, *more, nn.Conv2d(width * 2 ** (levels - 1), 1, 3, padding=1))

    def forward(self, maps_bchw: Tensor) -> Tensor:
        return self.body(maps_bchw)
