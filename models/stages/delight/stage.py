"""Stage ``delight``: trains on pairs of captures under random light and under uniform white light."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import adversarial, gradient, l1, psnr, ssim, total
from mosar.models.relight import perturb_light, random_lights
from mosar.models.stages.delight.config import Config
from mosar.models.stages.delight.network import Delight
from mosar.models.stages.preview import rows
from mosar.models.stages.spec import StreamSpec
from mosar.models.texture_space import (
    degrade,
    fill,
    light_normalized,
    radiance,
    random_eyes,
    random_known,
    read_skin,
    shading,
)

Batch = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Lit textures and estimated shading, linear; the light-normalised truth, sRGB-encoded; the chart's inside."""

    texture_b3hw: Tensor
    shading_b3hw: Tensor
    given_b: Tensor
    truth_b3hw: Tensor
    inside_11hw: Tensor

    def prediction(self, module: Delight) -> Tensor:
        return to_srgb(module.even(self.texture_b3hw, self.shading_b3hw, self.given_b))


class Stage:
    """Errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "delight"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        fields = ("mesh", "light", "diffuse", "specular", "ao", "translucency", "normal")
        self.streams = {"lightstage": StreamSpec(1.0, fields, map_size=config.map_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> Delight:
        return Delight(self.config)

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        module = cast(Delight, module)
        generator = torch.Generator().manual_seed(0)
        captures = [batch["lightstage"] for batch in batches]
        module.average.fit(read_skin(sample, self.head) for sample in captures)
        problems = [self._problem({"lightstage": sample}, generator) for sample in captures]
        lit = torch.stack([p.texture_b3hw.sum(dim=(0, 2, 3)) for p in problems]).sum(dim=0)
        even = torch.stack([to_linear(p.truth_b3hw).sum(dim=(0, 2, 3)) for p in problems]).sum(dim=0)
        module.mean_gain_13.copy_((even / lit.clamp_min(1e-6))[None])

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Delight, module)
        pair = self._problem(batch, generator)
        prediction = pair.prediction(module)
        losses = self._objective(prediction, pair)
        if module.critic and self.config.critic:
            seen = prediction * pair.inside_11hw
            losses |= adversarial(module.critic, seen, pair.truth_b3hw, self.config.critic.weight)
        return losses

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        pair = self._problem(batch, generator)
        prediction = pair.prediction(cast(Delight, module)).clamp(0.0, 1.0)
        losses = self._objective(prediction, pair)
        return losses | {
            "loss": total(losses),
            "psnr_db": psnr(prediction, pair.truth_b3hw, pair.inside_11hw),
            "ssim": ssim(prediction, pair.truth_b3hw, pair.inside_11hw),
        }

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The input, scaled by one gain per channel: the ratio of means over the training set."""
        pair = self._problem(batch, generator)
        unchanged = pair.texture_b3hw * cast(Delight, module).mean_gain_13[..., None, None]
        return total(self._objective(to_srgb(unchanged.clamp(0.0, 1.0)), pair))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: lit, estimated shading (black if there is none), prediction, truth."""
        pair = self._problem(batch, generator)
        estimate = 0.5 * pair.shading_b3hw * pair.given_b[:, None, None, None]
        inputs = (to_srgb(m.clamp(0.0, 1.0)) for m in (pair.texture_b3hw, estimate))
        maps = (*inputs, pair.prediction(cast(Delight, module)), pair.truth_b3hw)
        return rows(*(m * pair.inside_11hw for m in maps))

    def _problem(self, batch: Batch, generator: torch.Generator) -> TrainingPair:
        sample, c = batch["lightstage"], self.config
        count, device = len(sample["mesh"]), sample["mesh"].device
        skin = read_skin(sample, self.head)
        eye = random_eyes(count, generator, device)
        light = random_lights(sample["light"], generator)
        lit = radiance(skin, light, eye)
        known = random_known(skin.surface, skin.inside_11hw, eye, generator)
        patched = torch.where(_some(count, c.mirrored_share, generator, device), fill(lit, known).texture_bchw, lit)
        return TrainingPair(
            texture_b3hw=degrade(patched, generator) * skin.inside_11hw,
            shading_b3hw=shading(perturb_light(light, generator, c.shading_noise), skin.surface.normal_b3hw),
            given_b=_some(count, c.shading_share, generator, device)[:, 0, 0, 0].to(lit.dtype),
            truth_b3hw=to_srgb(light_normalized(skin).clamp(0.0, 1.0)),
            inside_11hw=skin.inside_11hw,
        )

    def _objective(self, prediction: Tensor, pair: TrainingPair) -> dict[str, Tensor]:
        return {
            "l1": l1(prediction, pair.truth_b3hw, pair.inside_11hw),
            "gradient": self.config.gradient_weight * gradient(prediction, pair.truth_b3hw, pair.inside_11hw),
        }


def _some(count: int, share: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Mask (b, 1, 1, 1): True with probability ``share`` for each capture of the batch."""
    return (torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) < share).to(device)
