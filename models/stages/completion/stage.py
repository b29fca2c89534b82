"""Stage ``completion``: trains on relit captures with the holes that a random photograph would have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import gradient, l1, total
from mosar.models.stages.completion.config import Config
from mosar.models.stages.completion.network import Completion
from mosar.models.stages.preview import rows
from mosar.models.stages.spec import StreamSpec
from mosar.models.texture_space import CAPTURE_FIELDS, Lighting, read_skin, relit_capture

Batch = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Lit textures, linear, what is known of them and their estimated light; the truth, sRGB-encoded; the chart."""

    lit_b3hw: Tensor
    known_b1hw: Tensor
    light: Lighting
    truth_b3hw: Tensor
    inside_11hw: Tensor

    def prediction(self, module: Completion) -> Tensor:
        return _encoded(module.correct(module.fill(self.lit_b3hw, self.known_b1hw, self.light), self.light))

    def untrained(self, module: Completion) -> Tensor:
        return _encoded(self.light.lit(to_linear(module.fill(self.lit_b3hw, self.known_b1hw, self.light).texture_bchw)))


class Stage:
    """Errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "completion"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = {"lightstage": StreamSpec(1.0, CAPTURE_FIELDS, map_size=config.map_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> Completion:
        return Completion(self.config)

    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        cast(Completion, module).average.fit(
            (read_skin(batch["lightstage"], self.head) for batch in batches), self.head
        )

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pair = self._problem(batch, generator)
        return self._objective(pair.prediction(cast(Completion, module)), pair)

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pair = self._problem(batch, generator)
        losses = self._objective(pair.prediction(cast(Completion, module)), pair)
        return losses | {"loss": total(losses)}

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The average skin under the estimated light."""
        pair = self._problem(batch, generator)
        mean = cast(Completion, module).average.even_13hw.expand_as(pair.lit_b3hw)
        return total(self._objective(_encoded(pair.light.lit(mean)), pair))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: what is known, filled without learning, the prediction, the truth."""
        pair = self._problem(batch, generator)
        module = cast(Completion, module)
        maps = (_encoded(pair.lit_b3hw) * pair.known_b1hw, pair.untrained(module), pair.prediction(module))
        return rows(*(m.clamp(0.0, 1.0) * pair.inside_11hw for m in (*maps, pair.truth_b3hw)))

    def _problem(self, batch: Batch, generator: torch.Generator) -> TrainingPair:
        capture = relit_capture(batch["lightstage"], self.head, generator, self.config.light_noise)
        return TrainingPair(
            lit_b3hw=capture.lit_b3hw,
            known_b1hw=capture.known_b1hw,
            light=capture.light,
            truth_b3hw=_encoded(capture.lit_b3hw),
            inside_11hw=capture.skin.inside_11hw,
        )

    def _objective(self, prediction: Tensor, pair: TrainingPair) -> dict[str, Tensor]:
        hole = pair.inside_11hw * (1.0 - pair.known_b1hw)
        return {
            "l1": l1(prediction, pair.truth_b3hw, hole),
            "gradient": self.config.gradient_weight * gradient(prediction, pair.truth_b3hw, hole),
        }


def _encoded(lit_b3hw: Tensor) -> Tensor:
    return to_srgb(lit_b3hw.clamp(0.0, 1.0))
