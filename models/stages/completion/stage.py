"""Stage ``completion``: trains on relit captures with the holes that a random photograph would have."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_srgb
from mosar.models.head import Head
from mosar.models.losses import adversarial, gradient, l1, total
from mosar.models.relight import perturb_light, random_lights
from mosar.models.stages.completion.config import Config
from mosar.models.stages.completion.network import Completion
from mosar.models.stages.preview import rows
from mosar.models.stages.spec import StreamSpec
from mosar.models.texture_space import Filled, fill, radiance, random_eyes, random_known, read_skin, shading

Batch = Mapping[str, Mapping[str, Tensor]]
_MAPS = ("diffuse", "specular", "ao", "translucency", "normal")


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Lit textures with filled holes and their truth, sRGB-encoded; the estimated shading; the chart's inside."""

    filled: Filled
    shading_b3hw: Tensor
    given_b: Tensor
    truth_b3hw: Tensor
    inside_11hw: Tensor

    def prediction(self, module: Completion) -> Tensor:
        return module.correct(self.filled, self.shading_b3hw, self.given_b)


class Stage:
    """Errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "completion"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = {"lightstage": StreamSpec(1.0, ("mesh", "light", *_MAPS), map_size=config.map_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> Completion:
        return Completion(self.config)

    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        cast(Completion, module).average.fit(read_skin(batch["lightstage"], self.head) for batch in batches)

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Completion, module)
        pair = self._problem(batch, generator)
        prediction = pair.prediction(module)
        losses = self._objective(prediction, pair)
        if module.critic and self.config.critic:
            losses |= adversarial(
                module.critic, prediction * pair.inside_11hw, pair.truth_b3hw, self.config.critic.weight
            )
        return losses

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pair = self._problem(batch, generator)
        losses = self._objective(pair.prediction(cast(Completion, module)), pair)
        return losses | {"loss": total(losses)}

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The better of the filled input and the training mean."""
        pair = self._problem(batch, generator)
        mean = to_srgb(cast(Completion, module).average.even_13hw).expand_as(pair.truth_b3hw)
        answers = [self._objective(a, pair).values() for a in (pair.filled.texture_bchw, mean)]
        return torch.stack([torch.stack(list(a)).sum() for a in answers]).min()

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: what is known, the filled input, the prediction, the truth."""
        pair = self._problem(batch, generator)
        filled = pair.filled
        maps = (filled.texture_bchw * filled.known_b1hw, filled.texture_bchw, pair.prediction(cast(Completion, module)))
        return rows(*(m * pair.inside_11hw for m in (*maps, pair.truth_b3hw)))

    def _problem(self, batch: Batch, generator: torch.Generator) -> TrainingPair:
        sample, c = batch["lightstage"], self.config
        count, device = len(sample["mesh"]), sample["mesh"].device
        skin = read_skin(sample, self.head)
        eye = random_eyes(count, generator, device)
        light = random_lights(sample["light"], generator)
        truth = to_srgb(radiance(skin, light, eye).clamp(0.0, 1.0))
        known = random_known(skin.surface, skin.inside_11hw, eye, generator)
        estimate = shading(perturb_light(light, generator, c.shading_noise), skin.surface.normal_b3hw)
        given = torch.rand(count, generator=generator, device=generator.device).to(device) < c.shading_share
        return TrainingPair(fill(truth, known), estimate, given.to(truth.dtype), truth, skin.inside_11hw)

    def _objective(self, prediction: Tensor, pair: TrainingPair) -> dict[str, Tensor]:
        hole = pair.inside_11hw * (1.0 - pair.filled.known_b1hw)
        return {
            "l1": l1(prediction, pair.truth_b3hw, hole),
            "gradient": self.config.gradient_weight * gradient(prediction, pair.truth_b3hw, hole),
        }
