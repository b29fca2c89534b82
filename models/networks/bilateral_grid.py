"""Gains and offsets on a coarse grid with an edge-aware axis (Chen et al. 2007, Gharbi et al. 2017).

A cell of the grid is a place and a brightness, so that a smooth correction can differ across an edge, and inside a
highlight or a shadow, without any detail of its own. Shapes: b batch, d levels of brightness, h w rows and columns.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, grid_sample

from mosar.models.networks.unet import UNet, UNetConfig

LEVELS = 4
_GAIN, _OFFSET = 1.0, 0.25  # largest logarithm of a gain, and largest offset
_CAUTION = 0.2  # an optimiser's first steps away from zero all go the same way: they should be small
_BAND = 1 << 19  # texels corrected at a time, to bound the memory of large maps


class Correction(nn.Module):
    """A network that looks at small maps and corrects large ones: ``out = in * gain + offset``, channel by channel.

    Untrained it is the identity. Args: ``inputs``: channels it looks at; ``channels``: of the corrected map;
    ``cells``: cells of the grid along a side.
    """

    def __init__(self, inputs: int, channels: int, cells: int, config: UNetConfig) -> None:
        super().__init__()
        self.channels, self.cells = channels, cells
        self.network = UNet(inputs, 2 * channels * LEVELS, config)
        for parameter in (*self.network.last.parameters(), *self.network.tone[-1].parameters()):
            nn.init.zeros_(parameter)

    def forward(self, maps_bihw: Tensor) -> Tensor:
        """The grid (b, 2 channels, d, cells, cells): logarithms of gains, then offsets; bounded."""
        coarse = _CAUTION * adaptive_avg_pool2d(self.network(maps_bihw).float(), self.cells)
        gain, offset = coarse.unflatten(1, (2 * self.channels, LEVELS)).split(self.channels, dim=1)
        return torch.cat([_GAIN * (gain / _GAIN).tanh(), _OFFSET * (offset / _OFFSET).tanh()], dim=1)


def apply(grid_bgdhw: Tensor, map_bchw: Tensor, guide_b1hw: Tensor) -> Tensor:
    """The corrected map, of any size; ``guide_b1hw`` in [0, 1] is the brightness that chooses the level."""
    height, width = map_bchw.shape[-2:]
    rows = max(1, _BAND // width)
    if not torch.is_grad_enabled() and height > rows:
        bands = range(0, height, rows)
        return torch.cat([_applied(grid_bgdhw, map_bchw, guide_b1hw, (i, min(i + rows, height))) for i in bands], dim=2)
    return _applied(grid_bgdhw, map_bchw, guide_b1hw, (0, height))


def _applied(grid_bgdhw: Tensor, map_bchw: Tensor, guide_b1hw: Tensor, rows: tuple[int, int]) -> Tensor:
    height, width = map_bchw.shape[-2:]
    first, last = rows
    texture, guide = map_bchw[:, :, first:last], guide_b1hw[:, :, first:last]
    v = (torch.arange(first, last, device=guide.device, dtype=guide.dtype) + 0.5) / height * 2 - 1
    u = (torch.arange(width, device=guide.device, dtype=guide.dtype) + 0.5) / width * 2 - 1
    z = (guide[:, 0].clamp(0, 1) * 2 - 1) * (LEVELS - 1) / LEVELS  # levels at the centres of cells, the ends included
    at = torch.stack([u.expand_as(z), v[:, None].expand_as(z), z], dim=-1)[:, None]
    found = grid_sample(grid_bgdhw, at, padding_mode="border", align_corners=False)[:, :, 0]
    gain, offset = found.split(texture.shape[1], dim=1)
    return texture * gain.exp() + offset
