"""Stage ``intrinsics``: trains generators of maps jointly, through the shading, on light-normalised captures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.losses import adversarial, l1, total
from mosar.models.relight import random_lights
from mosar.models.stages.intrinsics.config import Config
from mosar.models.stages.intrinsics.network import Intrinsics, IntrinsicsNetwork
from mosar.models.stages.preview import rows
from mosar.models.stages.reshading import unexplained
from mosar.models.stages.texture_input import TextureInput, texture_streams
from mosar.models.texture_space import (
    CapturedSkin,
    radiance,
    random_eyes,
    read_skin,
    skin_texels,
    subsample,
)

Batch = Mapping[str, Mapping[str, Tensor]]


class Stage:
    """Colour errors are measured on sRGB-encoded colours, so that dark skin counts as much as light skin."""

    name = "intrinsics"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = texture_streams(config.map_size, config.estimated_share, config.photograph_share)
        self.input = TextureInput(config.estimated_share, config.upstream_share)
        self.requires = self.input.requires

    def build(self, parents: Mapping[str, nn.Module]) -> IntrinsicsNetwork:
        self.input.set_parents(parents)
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
        skin, texture, ao = self.input.draw(batch["lightstage"], self.head, generator)
        prediction = module(texture, ao)
        losses = self._objective(prediction, skin, batch, generator)
        if "wild" in batch:
            losses["photographs"] = self.config.photograph_weight * self._changed(module, batch["wild"], generator)
        if module.critic and self.config.critic:
            given, inside = to_srgb(texture), skin.inside_11hw
            fake, real = (torch.cat([given, maps.stacked()], dim=1) * inside for maps in (prediction, _truth(skin)))
            losses |= adversarial(module.critic, fake, real, self.config.critic.weight)
        return losses

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(IntrinsicsNetwork, module)
        skin, texture, ao = self.input.draw(batch["lightstage"], self.head, generator)
        prediction = module(texture, ao)
        losses = self._objective(prediction, skin, batch, generator)
        relit = self._relit(prediction, skin, skin_texels(skin, self.head), batch, generator, lambda linear: linear)
        # Apart from the loss, which the baseline is compared with: that knows no photographs.
        photographs = {"photographs": self._changed(module, batch["wild"], generator)} if "wild" in batch else {}
        return losses | photographs | {"loss": total(losses), "relit": relit}

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The training means of the maps."""
        module = cast(IntrinsicsNetwork, module)
        skin, texture, _ = self.input.draw(batch["lightstage"], self.head, generator)
        scalars = module.mean_scalars_13hw.expand_as(texture).split(1, dim=1)
        means = Intrinsics(module.mean_diffuse_13hw.expand_as(texture), *scalars)
        return total(self._objective(means, skin, batch, generator))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: the texture, then prediction and truth of each of the four maps."""
        skin, texture, ao = self.input.draw(batch["lightstage"], self.head, generator)
        found = cast(IntrinsicsNetwork, module)(texture, ao)
        prediction, truth = (m.stacked().split([3, 1, 1, 1], dim=1) for m in (found, _truth(skin)))
        pairs = [maps * skin.inside_11hw for pair in zip(prediction, truth, strict=True) for maps in pair]
        return rows(to_srgb(texture), *pairs)

    def _objective(
        self, prediction: Intrinsics, skin: CapturedSkin, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        weight, truth = skin_texels(skin, self.head), _truth(skin)
        losses = {
            "diffuse": l1(to_srgb(prediction.diffuse_b3hw), to_srgb(truth.diffuse_b3hw), weight),
            "specular": l1(prediction.specular_b1hw, truth.specular_b1hw, weight),
            "translucency": l1(prediction.translucency_b1hw, truth.translucency_b1hw, weight),
        }
        if self.config.shading_weight:
            shading = self._relit(prediction, skin, weight, batch, generator, to_srgb)
            losses["shading"] = self.config.shading_weight * shading
        return losses

    def _changed(self, module: IntrinsicsNetwork, sample: Mapping[str, Tensor], generator: torch.Generator) -> Tensor:
        """What the correction of the albedo of photographs changes that no other light explains."""
        texture, seen = self.input.draw_photographs(sample, self.head, generator)
        first = module.first_albedo(texture, seen.ao_b1hw)
        found = module.albedo(module.grid(texture, seen.ao_b1hw), texture, seen.ao_b1hw)
        return unexplained(first, found, seen.surface.normal_b3hw, seen.known_b1hw)

    def _relit(
        self,
        prediction: Intrinsics,
        skin: CapturedSkin,
        weight_b1hw: Tensor,
        batch: Batch,
        generator: torch.Generator,
        encoded: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Mean difference of the maps from the truth as random lights show both, in ``encoded`` linear radiance.

        It trains the generators jointly. Shading is expensive, so the maps are subsampled.
        """
        stride = self.config.shading_stride
        true_skin = subsample(skin, stride)
        weight = weight_b1hw[..., ::stride, ::stride]
        found_skin = subsample(replace(skin, **vars(prediction)), stride)
        errors = []
        for _ in range(self.config.shading_lights):
            light = random_lights(batch["lightstage"]["light"], generator)
            eye = random_eyes(len(light), generator, light.device)
            with torch.no_grad():
                seen = encoded(radiance(true_skin, light, eye))
            errors.append(l1(encoded(radiance(found_skin, light, eye)), seen, weight))
        return torch.stack(errors).mean()


def _truth(skin: CapturedSkin) -> Intrinsics:
    return Intrinsics(skin.diffuse_b3hw, skin.specular_b1hw, skin.ao_b1hw, skin.translucency_b1hw)
