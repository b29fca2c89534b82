"""A grid of maps for previews."""

import torch
from torch import Tensor

_ACROSS, _SIDE = 4, 160


def rows(*maps_bchw: Tensor) -> Tensor:
    """Draw the first four maps of each batch side by side, one batch per row: (3, h, w), clipped to [0, 1].

    Maps with one channel are drawn grey. Every map is resized to 160 x 160 texels.
    """
    drawn = []
    for maps in maps_bchw:
        few = maps[:_ACROSS].detach().clamp(0.0, 1.0).float().expand(-1, 3, -1, -1)
        few = torch.nn.functional.interpolate(few, size=(_SIDE, _SIDE), mode="bilinear", antialias=True)
        drawn.append(torch.cat(list(few), dim=2))
    return torch.cat(drawn, dim=1)
