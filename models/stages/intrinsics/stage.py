"""Stage ``intrinsics``: trains four generators jointly, through the shading, on light-normalised captures."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import adversarial, l1, total
from mosar.models.relight import random_lights
from mosar.models.stages.intrinsics.config import Config
from mosar.models.stages.intrinsics.network import SCALARS, Intrinsics, IntrinsicsNetwork
from mosar.models.stages.preview import rows
from mosar.models.stages.spec import StreamSpec
from mosar.models.texture_space import (
    CAPTURE_FIELDS,
    CapturedSkin,
    light_normalized,
    radiance,
    random_eyes,
    read_skin,
    rough_ao,
    subsample,
)

Batch = Mapping[str, Mapping[str, Tensor]]
_NAMES = ("diffuse", *SCALARS)


class Stage:
    """Colour errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "intrinsics"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = {"lightstage": StreamSpec(1.0, CAPTURE_FIELDS, map_size=config.map_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> IntrinsicsNetwork:
        return IntrinsicsNetwork(self.config)

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        truths = (_truth(read_skin(batch["lightstage"], self.head)).stacked() for batch in batches)
        mean = torch.cat([t.mean(dim=0, keepdim=True) for t in truths]).mean(dim=0, keepdim=True)
        module = cast(IntrinsicsNetwork, module)
        module.mean_diffuse_13hw.copy_(to_linear(mean[:, :3]))
        module.mean_scalars_13hw.copy_(mean[:, 3:])

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(IntrinsicsNetwork, module)
        skin = read_skin(batch["lightstage"], self.head)
        texture = light_normalized(skin)
        prediction = module(texture, rough_ao(skin.ao_b1hw, generator))
        losses = self._objective(prediction, skin, batch, generator)
        if module.critic and self.config.critic:
            given, inside = to_srgb(texture), skin.inside_11hw
            fake, real = (torch.cat([given, maps.stacked()], dim=1) * inside for maps in (prediction, _truth(skin)))
            losses |= adversarial(module.critic, fake, real, self.config.critic.weight)
        return losses

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        skin = read_skin(batch["lightstage"], self.head)
        texture = light_normalized(skin)
        prediction = cast(IntrinsicsNetwork, module)(texture, rough_ao(skin.ao_b1hw, generator))
        losses = self._objective(prediction, skin, batch, generator)
        return losses | {"loss": total(losses)}

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The training means of the maps."""
        module = cast(IntrinsicsNetwork, module)
        skin = read_skin(batch["lightstage"], self.head)
        texture = light_normalized(skin)
        scalars = module.mean_scalars_13hw.expand_as(texture).split(1, dim=1)
        means = Intrinsics(module.mean_diffuse_13hw.expand_as(texture), *scalars)
        return total(self._objective(means, skin, batch, generator))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: the texture, then prediction and truth of each of the four maps."""
        skin = read_skin(batch["lightstage"], self.head)
        texture = light_normalized(skin)
        found = cast(IntrinsicsNetwork, module)(texture, rough_ao(skin.ao_b1hw, generator))
        prediction, truth = (m.stacked().split([3, 1, 1, 1], dim=1) for m in (found, _truth(skin)))
        pairs = [maps * skin.inside_11hw for pair in zip(prediction, truth, strict=True) for maps in pair]
        return rows(to_srgb(texture), *pairs)

    def _objective(
        self, prediction: Intrinsics, skin: CapturedSkin, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        parts = zip(
            prediction.stacked().split([3, 1, 1, 1], 1), _truth(skin).stacked().split([3, 1, 1, 1], 1), strict=True
        )
        losses = {n: l1(a, t, skin.inside_11hw) for n, (a, t) in zip(_NAMES, parts, strict=True)}
        if not self.config.shading_weight:
            return losses
        # Comparing shaded maps trains the generators jointly. Shading is expensive, so the maps are subsampled.
        stride = self.config.shading_stride
        true_skin = subsample(skin, stride)
        found_skin = subsample(replace(skin, **vars(prediction)), stride)
        errors = []
        for _ in range(self.config.shading_lights):
            light = random_lights(batch["lightstage"]["light"], generator)
            eye = random_eyes(len(light), generator, light.device)
            with torch.no_grad():
                seen = to_srgb(radiance(true_skin, light, eye))
            errors.append(l1(to_srgb(radiance(found_skin, light, eye)), seen, true_skin.inside_11hw))
        return losses | {"shading": self.config.shading_weight * torch.stack(errors).mean()}


def _truth(skin: CapturedSkin) -> Intrinsics:
    return Intrinsics(skin.diffuse_b3hw, skin.specular_b1hw, skin.ao_b1hw, skin.translucency_b1hw)
