"""Stage ``completion``: relit captures with holes where a random photograph would have them, and their truth."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_srgb
from mosar.models.head import Head
from mosar.models.losses import adversarial, gradient, l1, total
from mosar.models.relight import misjudged, random_lights
from mosar.models.stages.completion.config import Config
from mosar.models.stages.completion.network import Completion
from mosar.models.stages.preview import rows
from mosar.models.stages.spec import StreamSpec
from mosar.models.texture_space import Filled, fill, radiance, random_eyes, random_known, read_skin, shading

Batch = Mapping[str, Mapping[str, Tensor]]
_MAPS = ("diffuse", "specular", "ao", "translucency", "normal")


@dataclass(frozen=True, eq=False)
class Problem:
    """Lit textures with their holes filled and without any, sRGB-encoded; the estimated shading; the chart's inside."""

    filled: Filled
    shading_b3hw: Tensor
    given_b: Tensor
    truth_b3hw: Tensor
    inside_11hw: Tensor

    def answer(self, module: Completion) -> Tensor:
        return module.correct(self.filled, self.shading_b3hw, self.given_b)


class Stage:
    """Errors are of sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "completion"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = {"lightstage": StreamSpec(1.0, ("mesh", "light", *_MAPS), map_size=config.map_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> Completion:
        return Completion(self.config)

    def calibrate(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        cast(Completion, module).average.fit(read_skin(batch["lightstage"], self.head) for batch in batches)

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Completion, module)
        problem = self._problem(batch, generator)
        answer = problem.answer(module)
        losses = self._objective(answer, problem)
        if module.critic and self.config.critic:
            losses |= adversarial(
                module.critic, answer * problem.inside_11hw, problem.truth_b3hw, self.config.critic.weight
            )
        return losses

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        problem = self._problem(batch, generator)
        losses = self._objective(problem.answer(cast(Completion, module)), problem)
        return losses | {"loss": total(losses)}

    @torch.no_grad()
    def blind(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The better of the filled input and the training mean."""
        problem = self._problem(batch, generator)
        mean = to_srgb(cast(Completion, module).average.even_13hw).expand_as(problem.truth_b3hw)
        answers = [self._objective(a, problem).values() for a in (problem.filled.texture_bchw, mean)]
        return torch.stack([torch.stack(list(a)).sum() for a in answers]).min()

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: what is known, the filled input, the answer, the truth."""
        problem = self._problem(batch, generator)
        filled = problem.filled
        maps = (filled.texture_bchw * filled.known_b1hw, filled.texture_bchw, problem.answer(cast(Completion, module)))
        return rows(*(m * problem.inside_11hw for m in (*maps, problem.truth_b3hw)))

    def _problem(self, batch: Batch, generator: torch.Generator) -> Problem:
        sample, c = batch["lightstage"], self.config
        count, device = len(sample["mesh"]), sample["mesh"].device
        skin = read_skin(sample, self.head)
        eye = random_eyes(count, generator, device)
        light = random_lights(sample["light"], generator)
        truth = to_srgb(radiance(skin, light, eye).clamp(0.0, 1.0))
        known = random_known(skin.surface, skin.inside_11hw, eye, generator)
        estimate = shading(misjudged(light, generator, c.shading_noise), skin.surface.normal_b3hw)
        given = torch.rand(count, generator=generator, device=generator.device).to(device) < c.shading_share
        return Problem(fill(truth, known), estimate, given.to(truth.dtype), truth, skin.inside_11hw)

    def _objective(self, answer: Tensor, problem: Problem) -> dict[str, Tensor]:
        hole = problem.inside_11hw * (1.0 - problem.filled.known_b1hw)
        return {
            "l1": l1(answer, problem.truth_b3hw, hole),
            "gradient": self.config.gradient_weight * gradient(answer, problem.truth_b3hw, hole),
        }
