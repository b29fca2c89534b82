"""The network of ``completion``. Shapes: b batch, h w rows and columns; textures linear RGB."""

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.losses import resized
from mosar.models.networks import bilateral_grid
from mosar.models.networks.bilateral_grid import Correction
from mosar.models.stages.completion.config import Config
from mosar.models.texture_space import AverageSkin, Filled, Lighting, fill


class Completion(nn.Module):
    """Fills holes of a lit texture.

    Without learning, each texel comes from the photograph, else from its mirror image, else from the average skin in
    the person's tone; this happens in even colours, so that the light is that of the hole. The network corrects what
    was not seen by gains and offsets on a coarse grid.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.average = AverageSkin(config.map_size)
        self.correction = Correction(14, 3, config.cells, config.network)

    def forward(self, texture_b3hw: Tensor, known_b1hw: Tensor, light: Lighting) -> Tensor:
        """The whole lit texture (b, 3, h, w), at least 0.

        Args:
            texture_b3hw: linear, of any size; values in holes are ignored.
            known_b1hw: in [0, 1], how well the photograph shows a texel. Seen texels stay, except in a seam at their
                edge.
            light: of the texture.
        """
        return self.correct(self.fill(texture_b3hw, known_b1hw, light), light).clamp_min(0.0)

    def fill(self, texture_b3hw: Tensor, known_b1hw: Tensor, light: Lighting) -> Filled:
        """The filled even texture, sRGB-encoded, without learning."""
        even = light.even(texture_b3hw).clamp(0.0, 1.0)
        average = to_srgb(self.average.like(even, known_b1hw).clamp(0.0, 1.0))
        return fill(to_srgb(even), known_b1hw, average)

    def correct(self, filled: Filled, light: Lighting) -> Tensor:
        """The corrected lit texture of a filled even one, not clipped."""
        lit = light.lit(to_linear(filled.texture_bchw.clamp(0.0, 1.0)))
        return self.corrected(self.grid(filled, light), lit, filled.known_b1hw)

    def grid(self, filled: Filled, light: Lighting) -> Tensor:
        """The grid of corrections for a filled even texture of any size; the network sees it at its own size."""
        size = self.average.inside_11hw
        even, known, mirrored = (
            resized(m, size) for m in (filled.texture_bchw, filled.known_b1hw, filled.mirrored_b1hw)
        )
        light = light.resized(size)
        lit = light.lit(to_linear(even.clamp(0.0, 1.0)))
        seen = [even, to_srgb(lit.clamp(0.0, 1.0)), light.shading_b3hw, light.highlight_b3hw, known, mirrored]
        found: Tensor = self.correction(torch.cat(seen, dim=1))
        return found

    @staticmethod
    def corrected(grid_bgdhw: Tensor, lit_b3hw: Tensor, known_b1hw: Tensor) -> Tensor:
        """Correct a lit texture of any size where it is not known."""
        guide = to_srgb(lit_b3hw.clamp(0.0, 1.0)).mean(dim=1, keepdim=True)
        return torch.lerp(bilateral_grid.apply(grid_bgdhw, lit_b3hw, guide), lit_b3hw, known_b1hw)
