"""Stage ``delight``: trains on captures under random and under uniform white light, and on photographs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import adversarial, psnr, ssim, total
from mosar.models.relight import perturb_light
from mosar.models.stages.delight.config import Config
from mosar.models.stages.delight.network import Delight
from mosar.models.stages.preview import rows
from mosar.models.stages.reshading import light_left, unexplained
from mosar.models.stages.texture_input import texture_streams
from mosar.models.stages.texture_loss import texture_losses
from mosar.models.texture_space import (
    AverageSkin,
    Filled,
    Lighting,
    Photographed,
    brightness_ratio,
    cast_shadows,
    degrade,
    fill,
    light_normalized,
    lighting,
    mirror_some,
    photographed,
    read_skin,
    skin_texels,
    unwrapped_photograph,
)

Batch = Mapping[str, Mapping[str, Tensor]]
_SHARPNESS = 128


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Whole lit textures, linear, what of them is known and their estimated light; the even truth at the brightness of
    the estimate, sRGB-encoded; the mesh's normals; the chart's inside; whether the pictures are seen through an
    estimate."""

    lit_b3hw: Tensor
    known_b1hw: Tensor
    light: Lighting
    truth_b3hw: Tensor
    normal_b3hw: Tensor
    inside_11hw: Tensor
    estimated_b: Tensor

    def untrained(self) -> Tensor:
        """The lit texture divided by its estimated light, sRGB-encoded."""
        return to_srgb(self.light.even(self.lit_b3hw).clamp(0.0, 1.0))

    def prediction(self, module: Delight, captured_b: Tensor | None = None) -> Tensor:
        """The corrected even texture, sRGB-encoded, not clipped; ``captured_b``: as of :meth:`Delight.grid`."""
        grid = module.grid(self.lit_b3hw, self.light, self.known_b1hw, captured_b)
        return to_srgb(module.corrected(grid, self.light.even(self.lit_b3hw)))

    def mirrored(self, generator: torch.Generator) -> "TrainingPair":
        """The same with half of the captures mirrored."""
        light = (self.light.shading_b3hw, self.light.highlight_b3hw)
        maps = (self.lit_b3hw, self.known_b1hw, self.truth_b3hw, self.normal_b3hw, *light)
        lit, known, truth, normal, shading, highlight = mirror_some(maps, generator)
        return replace(
            self,
            lit_b3hw=lit,
            known_b1hw=known,
            light=Lighting(shading, highlight),
            truth_b3hw=truth,
            normal_b3hw=normal,  # x keeps its sign: the harmonics of a band are fitted all together
        )


class Stage:
    """Errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "delight"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = texture_streams(config.map_size, config.estimated_share, config.photograph_share)

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
        prediction = pair.prediction(module, self._captured(pair, generator))
        losses = self._objective(prediction, pair)
        if self.config.unexplained_weight:
            before, after = pair.light.even(pair.lit_b3hw).clamp(0.0, 1.0), to_linear(prediction.clamp(0.0, 1.0))
            rest = unexplained(before, after, pair.normal_b3hw, pair.known_b1hw)
            losses["unexplained"] = self.config.unexplained_weight * rest
        if self.config.light_weight:
            even, true = (to_linear(m.clamp(0.0, 1.0)) for m in (prediction, pair.truth_b3hw))
            left = light_left(even, true, pair.light.shading_b3hw, pair.known_b1hw)
            losses["light"] = self.config.light_weight * left.mean().square()
        if "wild" in batch:
            rest, found, known = self._photographs(module, batch["wild"], generator)
            losses["photographs"] = self.config.photograph_weight * rest
            if module.critic and self.config.critic:
                losses |= adversarial(module.critic, *_judged(found, known, pair), self.config.critic.weight)
        return losses

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Delight, module)
        pair = self._problem(module.average, batch, generator)
        prediction = pair.prediction(module).clamp(0.0, 1.0)
        losses = self._objective(prediction, pair)
        # Apart from the loss, which the baseline is compared with: that knows no photographs.
        photographs = {"photographs": self._photographs(module, batch["wild"], generator)[0]} if "wild" in batch else {}
        return (
            losses
            | photographs
            | {
                "loss": total(losses),
                "divided": total(self._objective(pair.untrained(), pair)),
                "psnr_db": psnr(prediction, pair.truth_b3hw, pair.inside_11hw),
                "ssim": ssim(prediction, pair.truth_b3hw, pair.inside_11hw),
            }
        )

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
        how = Photographed(self.config.estimated_share, damaged=True)
        capture = photographed(batch["lightstage"], self.head, generator, how)
        whole = _some(len(capture.lit_b3hw), 1.0 - self.config.mirrored_share, generator, capture.lit_b3hw.device)
        whole = whole & ~capture.estimated_b[:, None, None, None]  # an unwrapped picture has no colours in its holes
        filled = _filled(average, capture.lit_b3hw, capture.known_b1hw, capture.light)
        light, lit, truth = capture.light, capture.lit_b3hw, light_normalized(capture.skin)
        even = light.even(lit).clamp(0.0, 1.0)
        truth = truth * brightness_ratio(even, truth, capture.known_b1hw)
        lit = torch.where(whole, lit, light.lit(to_linear(filled.texture_bchw.clamp(0.0, 1.0))))
        truth = torch.lerp(light.even(lit), truth, skin_texels(capture.skin, self.head))  # hair stays as it is
        return TrainingPair(
            lit_b3hw=lit,
            known_b1hw=torch.where(whole, capture.skin.inside_11hw, filled.known_b1hw),
            light=light,
            truth_b3hw=to_srgb(truth.clamp(0.0, 1.0)),
            normal_b3hw=capture.skin.surface.normal_b3hw,
            inside_11hw=capture.skin.inside_11hw,
            estimated_b=capture.estimated_b,
        ).mirrored(generator)

    def _photographs(
        self, module: Delight, sample: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the correction of photographs changes that no other light explains; the textures; what is known of them.

        Half of them have shadows of other things, a camera's damage and a wrong light, which have to go. Beyond that
        a photograph's own detail is the person's.
        """
        seen = unwrapped_photograph(sample, self.head, generator)
        damaged = _some(len(seen.lit_b3hw), 0.5, generator, seen.lit_b3hw.device)
        wrong = torch.where(damaged[:, 0], perturb_light(seen.light_blc, generator), seen.light_blc)
        dark = degrade(cast_shadows(seen.lit_b3hw, generator), generator) * (seen.known_b1hw > 0)
        lit = torch.where(damaged, dark, seen.lit_b3hw)
        true, light = (lighting(each, seen.surface, seen.eye_b3, seen.ao_b1hw) for each in (seen.light_blc, wrong))
        filled = _filled(module.average, lit, seen.known_b1hw, light)
        lit = light.lit(to_linear(filled.texture_bchw.clamp(0.0, 1.0)))
        found = module.corrected(module.grid(lit, light, filled.known_b1hw), light.even(lit))
        rest = unexplained(true.even(seen.lit_b3hw), found, seen.surface.normal_b3hw, seen.known_b1hw)
        return rest, found, seen.known_b1hw

    def _captured(self, pair: TrainingPair, generator: torch.Generator) -> Tensor | None:
        """Which textures of captures are given as such; None without a source flag."""
        if not self.config.source_flag:
            return None
        return _some(len(pair.lit_b3hw), 0.5, generator, pair.lit_b3hw.device).flatten()

    def _objective(self, prediction: Tensor, pair: TrainingPair) -> dict[str, Tensor]:
        truth, weight = pair.truth_b3hw, pair.inside_11hw
        return texture_losses(prediction, truth, weight, pair.estimated_b, self.config.gradient_weight)


def _judged(found_b3hw: Tensor, known_b1hw: Tensor, pair: TrainingPair) -> tuple[Tensor, Tensor]:
    """What a critic compares: even textures of photographs, and true ones of captures, with the photographs' holes.

    Both are at most as sharp as photographs are, :data:`_SHARPNESS` texels a side.
    """
    others = known_b1hw[torch.arange(len(pair.truth_b3hw), device=known_b1hw.device) % len(known_b1hw)]
    pictures = (to_srgb(found_b3hw.clamp(0.0, 1.0)), known_b1hw), (pair.truth_b3hw, others)
    fake, real = (torch.cat([texture * known, known], dim=1) for texture, known in pictures)
    if fake.shape[-1] > _SHARPNESS:
        fake, real = (interpolate(m, size=(_SHARPNESS, _SHARPNESS), mode="area") for m in (fake, real))
    return fake, real


def _filled(average: AverageSkin, lit_b3hw: Tensor, known_b1hw: Tensor, light: Lighting) -> Filled:
    """The even textures, sRGB-encoded, with holes filled without learning, as ``completion`` does."""
    even = light.even(lit_b3hw).clamp(0.0, 1.0)
    return fill(to_srgb(even), known_b1hw, to_srgb(average.like(even, known_b1hw).clamp(0.0, 1.0)))


def _some(count: int, share: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Mask (b, 1, 1, 1): True with probability ``share`` for each capture of the batch."""
    return (torch.rand(count, 1, 1, 1, generator=generator, device=generator.device) < share).to(device)
