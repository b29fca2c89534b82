"""What the stages after ``delight`` see while they train: true even textures, or what inference makes of pictures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mosar.models.head import Head
from mosar.models.texture_space import (
    CapturedSkin,
    Photographed,
    RelitCapture,
    brightness_ratio,
    light_normalized,
    photographed,
    read_skin,
    rough_ao,
)

if TYPE_CHECKING:
    from mosar.models.stages.completion.network import Completion
    from mosar.models.stages.delight.network import Delight

_PARENTS = ("completion", "delight")


class TextureInput:
    """Draws the input of a batch. The networks that make it belong to the stage; nothing trains them here.

    Args:
        estimated_share: see :class:`~mosar.models.texture_space.Photographed`.
        upstream_share: share of the batches whose input ``completion`` and ``delight`` make of photographs.
    """

    def __init__(self, estimated_share: float, upstream_share: float) -> None:
        self.how = Photographed(estimated_share, damaged=True)
        self.upstream_share = upstream_share
        self.requires = _PARENTS if upstream_share else ()
        self._parents: tuple[nn.Module, ...] = ()

    def set_parents(self, parents: Mapping[str, nn.Module]) -> None:
        """Set the trained modules of the stages in ``requires``."""
        self._parents = tuple(parents[name].eval().requires_grad_(False) for name in self.requires)

    def draw(
        self, sample: Mapping[str, Tensor], head: Head, generator: torch.Generator
    ) -> tuple[CapturedSkin, Tensor, Tensor]:
        """The captures, an even texture (b, 3, h, w) of each, linear, and the occlusion (b, 1, h, w) as estimated."""
        if float(torch.rand((), generator=generator, device=generator.device)) < self.upstream_share:
            capture = photographed(sample, head, generator, self.how)
            return capture.skin, self._found(capture), capture.ao_b1hw
        skin = read_skin(sample, head)
        return skin, light_normalized(skin), rough_ao(skin.ao_b1hw, generator)

    @torch.no_grad()
    def _found(self, capture: RelitCapture) -> Tensor:
        """The even textures that inference would find, but for their brightness, which the tone decides."""
        modules = [module.to(capture.lit_b3hw.device) for module in self._parents]
        completion, delight = cast("tuple[Completion, Delight]", modules)
        filled = completion.fill(capture.lit_b3hw, capture.known_b1hw, capture.light)
        lit = completion.correct(filled, capture.light).clamp_min(0.0)
        found = delight(lit, capture.light, filled.known_b1hw)
        inside = capture.skin.inside_11hw
        return (found * brightness_ratio(light_normalized(capture.skin), found, inside)).clamp(0.0, 1.0) * inside
