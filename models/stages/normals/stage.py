"""Stage ``normals``: trains on light-normalised captures and their tangent-space normals."""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_srgb
from mosar.models.head import Head
from mosar.models.losses import cosine, gradient, l1, total
from mosar.models.stages.normals.config import Config
from mosar.models.stages.normals.network import Normals, unit_normals
from mosar.models.stages.preview import rows
from mosar.models.stages.texture_input import TextureInput, texture_streams
from mosar.models.texture_space import CapturedMaps, read_maps

Batch = Mapping[str, Mapping[str, Tensor]]


class Stage:
    """The unrefined patches have a loss of their own; otherwise the refinement would do all the work."""

    name = "normals"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        self.streams = texture_streams(config.map_size, config.estimated_share)
        self.input = TextureInput(config.estimated_share, config.upstream_share)
        self.requires = self.input.requires

    def build(self, parents: Mapping[str, nn.Module]) -> Normals:
        self.input.set_parents(parents)
        return Normals(self.config)

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        cast(Normals, module).basis.fit(torch.cat([batch["lightstage"]["normal"][:, :2] for batch in batches]))

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        maps, texture, _ = self.input.draw(batch["lightstage"], self.head, generator)
        base, refined = cast(Normals, module).explain(texture)
        early = self.config.base_weight * self._turn(base, maps)
        return self._objective(refined, maps) | {"base": early}

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        maps, texture, _ = self.input.draw(batch["lightstage"], self.head, generator)
        base, refined = cast(Normals, module).explain(texture)
        losses = self._objective(refined, maps)
        return losses | {
            "loss": total(losses),
            "base_cosine": self._turn(base, maps),
        }

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The training mean."""
        maps = read_maps(batch["lightstage"], self.head)
        mean = unit_normals(cast(Normals, module).basis.mean_1chw).expand_as(maps.tangent_normal_b3hw)
        return total(self._objective(mean, maps))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: the texture, the patches' base, refined, truth."""
        maps, texture, _ = self.input.draw(batch["lightstage"], self.head, generator)
        normals = (*cast(Normals, module).explain(texture), maps.tangent_normal_b3hw)
        return rows(to_srgb(texture), *((0.5 + 0.5 * n) * maps.inside_11hw for n in normals))

    def _turn(self, normals_b3hw: Tensor, maps: CapturedMaps) -> Tensor:
        return self.config.cosine_weight * cosine(normals_b3hw, maps.tangent_normal_b3hw, maps.inside_11hw)

    def _objective(self, normals_b3hw: Tensor, maps: CapturedMaps) -> dict[str, Tensor]:
        truth, inside = maps.tangent_normal_b3hw, maps.inside_11hw
        return {
            "cosine": self._turn(normals_b3hw, maps),
            "l1": l1(normals_b3hw, truth, inside),
            "gradient": self.config.gradient_weight * gradient(normals_b3hw, truth, inside),
        }
