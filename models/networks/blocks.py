"""Blocks shared by the networks. They use group normalisation: batch statistics would make samples depend on others."""

import torch
from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """At most eight groups, of at least four channels each if there are that many channels."""
    return nn.GroupNorm(min(8, max(1, channels // 4)), channels)


class Convolution(nn.Sequential):
    """3 x 3 convolution, normalisation, SiLU; ``stride`` 2 halves the picture."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False), group_norm(channels_out), nn.SiLU()
        )


def coordinates(maps_bchw: Tensor) -> Tensor:
    """Chart coordinates (b, 2, h, w), u and v of texel centres in [-1, 1]: a place in the chart has a fixed meaning."""
    batch, _, height, width = maps_bchw.shape
    v, u = ((torch.arange(n, device=maps_bchw.device) * 2.0 + 1.0) / n - 1.0 for n in (height, width))
    grid = torch.stack([u.expand(height, width), -v[:, None].expand(height, width)])
    return grid.to(maps_bchw.dtype).expand(batch, 2, height, width)
