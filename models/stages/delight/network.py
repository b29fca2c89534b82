"""The network of ``delight``. Shapes: b batch, h w rows and columns; textures linear RGB."""

import torch
from torch import Tensor, nn

from mosar.models.colour import to_srgb
from mosar.models.losses import resized
from mosar.models.networks import bilateral_grid
from mosar.models.networks.bilateral_grid import Correction
from mosar.models.networks.patchgan import PatchDiscriminator
from mosar.models.stages.delight.config import Config
from mosar.models.texture_space import AverageSkin, Lighting

_INPUTS = 16
_DARK = 0.02  # keeps logarithms of dark colours finite


class Delight(nn.Module):
    """Turns a lit texture into the even one, under uniform white light.

    Without learning it subtracts the estimated highlights and divides by the estimated shading. The network corrects
    the result by gains and offsets on a coarse grid, so that the photograph's detail stays as it is.
    """

    mean_gain_13: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.average = AverageSkin(config.map_size)
        self.correction = Correction(_INPUTS, 3, config.cells, config.network)
        # Logarithms of gains, and offsets, of the inputs of captures; those of photographs stay as they are.
        self.source_2i = nn.Parameter(torch.zeros(2, _INPUTS)) if config.source_flag else None
        self.critic = PatchDiscriminator(4, config.critic) if config.critic else None
        # Per channel, over the training set: mean of the even textures / mean of the lit ones.
        self.register_buffer("mean_gain_13", torch.ones(1, 3))

    def forward(self, texture_b3hw: Tensor, light: Lighting, known_b1hw: Tensor) -> Tensor:
        """The texture under white light of radiance one from everywhere (b, 3, h, w), in [0, 1].

        Args:
            texture_b3hw: a whole lit texture, linear, of any size.
            light: its estimated light.
            known_b1hw: in [0, 1], 1 where the photograph shows the texel, 0 where it was filled.
        """
        return self.corrected(self.grid(texture_b3hw, light, known_b1hw), light.even(texture_b3hw)).clamp(0.0, 1.0)

    def grid(
        self, texture_b3hw: Tensor, light: Lighting, known_b1hw: Tensor, captured_b: Tensor | None = None
    ) -> Tensor:
        """The grid of corrections for a lit texture of any size; the network sees it at its own size.

        ``captured_b``: which textures are given as those of captures; None: none of them.
        """
        texture, known = (resized(m, self.average.inside_11hw) for m in (texture_b3hw, known_b1hw))
        light = light.resized(texture)
        even = light.even(texture)
        average = self.average.like(even.clamp(0.0, 1.0), torch.ones_like(known))
        maps = (texture, even, average, light.shading_b3hw)
        logarithms = [(m.clamp_min(0.0) + _DARK).log() for m in maps]
        inputs = torch.cat([*logarithms, light.highlight_b3hw, known], dim=1)
        if self.source_2i is not None and captured_b is not None:
            gain, offset = captured_b.to(inputs)[:, None, None, None] * self.source_2i[:, None, :, None, None]
            inputs = inputs * gain.exp() + offset
        found: Tensor = self.correction(inputs)
        return found

    @staticmethod
    def corrected(grid_bgdhw: Tensor, even_b3hw: Tensor) -> Tensor:
        """Correct an even texture of any size; not clipped."""
        guide = to_srgb(even_b3hw.clamp(0.0, 1.0)).mean(dim=1, keepdim=True)
        return bilateral_grid.apply(grid_bgdhw, even_b3hw, guide)
