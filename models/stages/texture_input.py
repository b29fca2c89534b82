"""What the stages after ``delight`` see while they train: true even textures, or what inference makes of pictures."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from mosar.models.head import Head
from mosar.models.stages.spec import StreamSpec
from mosar.models.texture_space import (
    ESTIMATE_FIELDS,
    CapturedSkin,
    Lighting,
    Photographed,
    UnwrappedPhotograph,
    brightness_ratio,
    fields,
    light_normalized,
    lighting,
    photographed,
    read_skin,
    rough_ao,
    unwrapped_photograph,
)

if TYPE_CHECKING:
    from mosar.models.stages.completion.network import Completion
    from mosar.models.stages.delight.network import Delight

_PARENTS = ("completion", "delight")


def texture_streams(map_size: int, estimated_share: float, photograph_share: float = 0.0) -> dict[str, StreamSpec]:
    """The streams of a texture stage: captures, and a share of unwrapped photographs without truth."""
    captures = StreamSpec(1.0 - photograph_share, fields(estimated_share), map_size=map_size)
    if not photograph_share:
        return {"lightstage": captures}
    return {"lightstage": captures, "wild": StreamSpec(photograph_share, ESTIMATE_FIELDS, map_size=map_size)}


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
            even = self._found(capture.lit_b3hw, capture.known_b1hw, capture.light)
            inside = capture.skin.inside_11hw
            even = even * brightness_ratio(light_normalized(capture.skin), even, inside)
            return capture.skin, even.clamp(0.0, 1.0) * inside, capture.ao_b1hw
        skin = read_skin(sample, head)
        return skin, light_normalized(skin), rough_ao(skin.ao_b1hw, generator)

    def draw_photographs(
        self, sample: Mapping[str, Tensor], head: Head, generator: torch.Generator
    ) -> tuple[Tensor, UnwrappedPhotograph]:
        """The even textures (b, 3, h, w) of photographs without truth, linear, and what is seen."""
        seen = unwrapped_photograph(sample, head, generator)
        light = lighting(seen.light_blc, seen.surface, seen.eye_b3, seen.ao_b1hw)
        return self._found(seen.lit_b3hw, seen.known_b1hw, light) * seen.inside_11hw, seen

    @torch.no_grad()
    def _found(self, lit_b3hw: Tensor, known_b1hw: Tensor, light: Lighting) -> Tensor:
        """The even textures that inference would find; the tone decides later how bright they are."""
        modules = [module.to(lit_b3hw.device) for module in self._parents]
        completion, delight = cast("tuple[Completion, Delight]", modules)
        filled = completion.fill(lit_b3hw, known_b1hw, light)
        found: Tensor = delight(completion.correct(filled, light).clamp_min(0.0), light, filled.known_b1hw)
        return found
