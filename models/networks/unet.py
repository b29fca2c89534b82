"""A U-Net (Ronneberger et al. 2015) for UV maps, with residual blocks at its coarsest level as in pix2pixHD."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_shuffle, pixel_unshuffle

from mosar.errors import ConfigError
from mosar.models.networks.blocks import Convolution, coordinates
from mosar.models.networks.resnet import Block

_FIRST = 0.1
_WIDEST = 8  # no level has more channels than this many times the width


@dataclass(frozen=True)
class UNetConfig:
    """Size of a U-Net.

    Attributes:
        width: channels of the finest level; they double with every level, up to eight times the width.
        levels: number of halvings of the map.
        blocks: residual blocks at the coarsest level.
        fold: each ``fold`` x ``fold`` square of texels becomes channels before the first level. A fold of 2 makes the
            network about three times as fast, at some cost in fine detail.
    """

    width: int = 32
    levels: int = 4
    blocks: int = 2
    fold: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"network.{name}: got {value}, expected at least 1")


class UNet(nn.Module):
    """Maps (b, inputs, h, w) of any size to (b, outputs, h, w): fully convolutional, with chart coordinates as input.

    The output starts small, because it corrects a first estimate.
    """

    def __init__(self, inputs: int, outputs: int, config: UNetConfig) -> None:
        super().__init__()
        width, levels, blocks, fold = config.width, config.levels, config.blocks, config.fold
        self.fold, self.multiple = fold, fold * 2**levels
        widths = [width * min(2**level, _WIDEST) for level in range(levels + 1)]
        self.stem = nn.Conv2d(inputs * fold**2 + 2, width, 3, padding=1)
        self.down = nn.ModuleList(Convolution(a, b, stride=2) for a, b in pairwise(widths))
        self.middle = nn.Sequential(*(Block(widths[-1], widths[-1], stride=1) for _ in range(blocks)))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Convolution(2 * a, a) for a in widths[:-1])
        self.last = nn.Conv2d(width, outputs * fold**2, 3, padding=1)
        # Normalisation removes the brightness and colour of the whole map, so a separate path carries them.
        self.tone = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))
        with torch.no_grad():
            for parameter in (*self.last.parameters(), *self.tone[-1].parameters()):
                parameter.mul_(_FIRST)

    def forward(self, maps_bchw: Tensor) -> Tensor:
        height, width = maps_bchw.shape[-2:]
        lack = (-width % self.multiple, -height % self.multiple)
        x = pad(maps_bchw, (0, lack[0], 0, lack[1]), mode="replicate") if any(lack) else maps_bchw
        x = pixel_unshuffle(x, self.fold)
        x = self.stem(torch.cat([x, coordinates(x)], dim=1))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for skip, narrow, up in zip(reversed(skips), reversed(self.narrow), reversed(self.up), strict=True):
            x = up(torch.cat([interpolate(narrow(x), scale_factor=2.0, mode="nearest"), skip], dim=1))
        tone = self.tone(maps_bchw.mean(dim=(2, 3)))[..., None, None]
        return pixel_shuffle(self.last(x), self.fold)[..., :height, :width] + tone
