"""Stage ``delight``: trains on pairs of captures under random light and under uniform white light."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import gradient, l1, psnr, ssim, total
from mosar.models.stages.delight.config import Config
from mosar.models.stages.delight.network import Delight
from mosar.models.stages.preview import rows
from mosar.models.stages.spec import StreamSpec
from mosar.models.texture_space import (
    CAPTURE_FIELDS,
    AverageSkin,
    CapturedSkin,
    Lighting,
    degrade,
    fill,
    light_normalized,
    read_skin,
    relit_capture,
)

Batch = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Lit textures, linear, and their estimated light; the even truth, sRGB-encoded; the chart's inside."""

    lit_b3hw: Tensor
    light: Lighting
    truth_b3hw: Tensor
    inside_11hw: Tensor

    def untrained(self) -> Tensor:
        """The lit texture divided by its estimated light, sRGB-encoded."""
        return to_srgb(self.light.even(self.lit_b3hw).clamp(0.0, 1.0))

    def prediction(self, module: Delight) -> Tensor:
        even = self.light.even(self.lit_b3hw)
        return to_srgb(module.corrected(module.grid(self.lit_b3hw, self.light, even), even))


class Stage:
    """Errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "delight"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = {"lightstage": StreamSpec(1.0, CAPTURE_FIELDS, map_size=config.map_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> Delight:
        return Delight(self.config)

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        module = cast(Delight, module)
        generator = torch.Generator().manual_seed(0)
        captures = [batch["lightstage"] for batch in batches]
        module.average.fit((read_skin(sample, self.head) for sample in captures), self.head)
        problems = [self._problem(module.average, {"lightstage": sample}, generator) for sample in captures]
        lit = torch.stack([p.lit_b3hw.sum(dim=(0, 2, 3)) for p in problems]).sum(dim=0)
        even = torch.stack([to_linear(p.truth_b3hw).sum(dim=(0, 2, 3)) for p in problems]).sum(dim=0)
        module.mean_gain_13.copy_((even / lit.clamp_min(1e-6))[None])

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Delight, module)
        pair = self._problem(module.average, batch, generator)
        return self._objective(pair.prediction(module), pair)

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Delight, module)
        pair = self._problem(module.average, batch, generator)
        prediction = pair.prediction(module).clamp(0.0, 1.0)
        losses = self._objective(prediction, pair)
        return losses | {
            "loss": total(losses),
            "divided": total(self._objective(pair.untrained(), pair)),
            "psnr_db": psnr(prediction, pair.truth_b3hw, pair.inside_11hw),
            "ssim": ssim(prediction, pair.truth_b3hw, pair.inside_11hw),
        }

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The input, scaled by one gain per channel: the ratio of means over the training set."""
        module = cast(Delight, module)
        pair = self._problem(module.average, batch, generator)
        unchanged = pair.lit_b3hw * module.mean_gain_13[..., None, None]
        return total(self._objective(to_srgb(unchanged.clamp(0.0, 1.0)), pair))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: lit, divided by the estimated light, prediction, truth."""
        module = cast(Delight, module)
        pair = self._problem(module.average, batch, generator)
        lit = to_srgb(pair.lit_b3hw.clamp(0.0, 1.0))
        maps = (lit, pair.untrained(), pair.prediction(module).clamp(0.0, 1.0), pair.truth_b3hw)
        return rows(*(m * pair.inside_11hw for m in maps))

    def _problem(self, average: AverageSkin, batch: Batch, generator: torch.Generator) -> TrainingPair:
        capture = relit_capture(batch["lightstage"], self.head, generator, self.config.light_noise)
        lit, light = capture.lit_b3hw, capture.light
        mirrored = _some(len(lit), self.config.mirrored_share, generator, lit.device)
        patched = torch.where(mirrored, _filled(average, lit, capture.known_b1hw, light), lit)
        return TrainingPair(
            lit_b3hw=degrade(patched, generator) * capture.skin.inside_11hw,
            light=light,
            truth_b3hw=_truth(capture.skin),
            inside_11hw=capture.skin.inside_11hw,
        )

    def _objective(self, prediction: Tensor, pair: TrainingPair) -> dict[str, Tensor]:
        return {
            "l1": l1(prediction, pair.truth_b3hw, pair.inside_11hw),
            "gradient": self.config.gradient_weight * gradient(prediction, pair.truth_b3hw, pair.inside_11hw),
        }


def _truth(skin: CapturedSkin) -> Tensor:
    return to_srgb(light_normalized(skin).clamp(0.0, 1.0))


def _filled(average: AverageSkin, lit_b3hw: Tensor, known_b1hw: Tensor, light: Lighting) -> Tensor:
    """Lit textures whose hidden texels are filled without learning, as ``completion`` does."""
    even = light.even(lit_b3hw).clamp(0.0, 1.0)
    like = to_srgb(average.like(even, known_b1hw).clamp(0.0, 1.0))
    return light.lit(to_linear(fill(to_srgb(even), known_b1hw, like).texture_bchw.clamp(0.0, 1.0)))


def _some(count: int, share: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Mask (b, 1, 1, 1): True with probability ``share`` for each capture of the batch."""
    return (torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) < share).to(device)
