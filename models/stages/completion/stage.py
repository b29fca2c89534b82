"""Stage ``completion``: trains on captures with the holes that a photograph of them has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import total
from mosar.models.stages.completion.config import Config
from mosar.models.stages.completion.network import Completion
from mosar.models.stages.preview import rows
from mosar.models.stages.texture_input import texture_streams
from mosar.models.stages.texture_loss import texture_losses
from mosar.models.texture_space import (
    Filled,
    Lighting,
    Photographed,
    mirror_some,
    photographed,
    read_skin,
    skin_texels,
)

Batch = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Lit textures, linear, what is known of them and their estimated light; the truth, sRGB-encoded; where it shows
    skin; the chart's inside; whether the pictures are seen through an estimate."""

    lit_b3hw: Tensor
    known_b1hw: Tensor
    light: Lighting
    truth_b3hw: Tensor
    skin_b1hw: Tensor
    inside_11hw: Tensor
    estimated_b: Tensor

    def filled(self, module: Completion) -> Filled:
        """What is seen, completed without learning."""
        return module.fill(self.lit_b3hw, self.known_b1hw, self.light)

    def prediction(self, module: Completion, filled: Filled) -> Tensor:
        return _encoded(module.correct(filled, self.light))

    def untrained(self, filled: Filled) -> Tensor:
        return _encoded(self.light.lit(to_linear(filled.texture_bchw)))

    def mirrored(self, generator: torch.Generator) -> "TrainingPair":
        """The same with half of the captures mirrored."""
        light = (self.light.shading_b3hw, self.light.highlight_b3hw)
        maps = (self.lit_b3hw, self.known_b1hw, self.truth_b3hw, self.skin_b1hw, *light)
        lit, known, truth, skin, shading, highlight = mirror_some(maps, generator)
        return TrainingPair(lit, known, Lighting(shading, highlight), truth, skin, self.inside_11hw, self.estimated_b)


class Stage:
    """Errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "completion"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = texture_streams(config.map_size, config.estimated_share)

    def build(self, parents: Mapping[str, nn.Module]) -> Completion:
        return Completion(self.config)

    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        cast(Completion, module).average.fit(
            (read_skin(batch["lightstage"], self.head) for batch in batches), self.head
        )

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pair = self._problem(batch, generator)
        filled = pair.filled(cast(Completion, module))
        return self._objective(pair.prediction(cast(Completion, module), filled), pair, filled)

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pair = self._problem(batch, generator)
        filled = pair.filled(cast(Completion, module))
        losses = self._objective(pair.prediction(cast(Completion, module), filled), pair, filled)
        return losses | {"loss": total(losses)}

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The average skin under the estimated light."""
        pair = self._problem(batch, generator)
        module = cast(Completion, module)
        mean = module.average.even_13hw.expand_as(pair.lit_b3hw)
        return total(self._objective(_encoded(pair.light.lit(mean)), pair, pair.filled(module)))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: what is known, filled without learning, the prediction, the truth."""
        pair = self._problem(batch, generator)
        module = cast(Completion, module)
        filled = pair.filled(module)
        known = _encoded(pair.lit_b3hw) * pair.known_b1hw
        maps = (known, pair.untrained(filled), pair.prediction(module, filled))
        return rows(*(m.clamp(0.0, 1.0) * pair.inside_11hw for m in (*maps, pair.truth_b3hw)))

    def _problem(self, batch: Batch, generator: torch.Generator) -> TrainingPair:
        how = Photographed(self.config.estimated_share)
        capture = photographed(batch["lightstage"], self.head, generator, how)
        return TrainingPair(
            lit_b3hw=capture.lit_b3hw,
            known_b1hw=capture.known_b1hw,
            light=capture.light,
            truth_b3hw=_encoded(capture.clean_b3hw),
            skin_b1hw=skin_texels(capture.skin, self.head),
            inside_11hw=capture.skin.inside_11hw,
            estimated_b=capture.estimated_b,
        ).mirrored(generator)

    def _objective(self, prediction: Tensor, pair: TrainingPair, filled: Filled) -> dict[str, Tensor]:
        truth = torch.lerp(pair.untrained(filled), pair.truth_b3hw, pair.skin_b1hw)  # hair stays as it is
        hole = pair.inside_11hw * (1.0 - pair.known_b1hw)
        return texture_losses(prediction, truth, hole, pair.estimated_b, self.config.gradient_weight)


def _encoded(lit_b3hw: Tensor) -> Tensor:
    return to_srgb(lit_b3hw.clamp(0.0, 1.0))
