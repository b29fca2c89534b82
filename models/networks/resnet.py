"""A residual image encoder (He et al. 2016, basic blocks) with group normalisation."""

from torch import Tensor, nn
from torch.nn.functional import silu

from mosar.models.networks.blocks import group_norm


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut; the first may halve the picture."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = group_norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = group_norm(channels_out)
        same = channels_in == channels_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1, stride)

    def forward(self, x_bchw: Tensor) -> Tensor:
        y = self.norm2(self.conv2(silu(self.norm1(self.conv1(x_bchw)))))
        return silu(y + self.shortcut(x_bchw))


class ResNet(nn.Module):
    """Encodes pictures (b, 3, h, w) of any size from 32 pixels as features (b, out_features).

    Args:
        width: channels of the first level; they double with every level.
        blocks: number of residual blocks of each level.
    """

    def __init__(self, width: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, 2, 2, bias=False), group_norm(width), nn.SiLU())
        levels: list[nn.Module] = []
        channels = width
        for level, count in enumerate(blocks):
            for i in range(count):
                out = width * 2**level
                levels.append(Block(channels, out, stride=2 if i == 0 else 1))
                channels = out
        self.levels = nn.Sequential(*levels)
        self.out_features = channels

    def forward(self, x_b3hw: Tensor) -> Tensor:
        return self.levels(self.stem(x_b3hw)).mean(dim=(2, 3))
