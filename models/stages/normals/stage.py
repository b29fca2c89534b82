"""Stage ``normals``: evenly lit captures and their tangent-space normals."""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_srgb
from mosar.models.head import Head
from mosar.models.losses import cosine, gradient, l1, total
from mosar.models.stages.normals.config import Config
from mosar.models.stages.normals.network import Normals, upright
from mosar.models.stages.preview import rows
from mosar.models.stages.spec import StreamSpec
from mosar.models.texels import Skin, evenly_lit, read_skin

Batch = Mapping[str, Mapping[str, Tensor]]


class Stage:
    """The base and the refinement are held to the same losses."""

    name = "normals"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        fields = ("mesh", "diffuse", "specular", "ao", "translucency", "normal")
        self.streams = {"lightstage": StreamSpec(1.0, fields, map_size=config.map_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> Normals:
        return Normals(self.config)

    @torch.no_grad()
    def calibrate(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        cast(Normals, module).basis.fit(torch.cat([batch["lightstage"]["normal"][:, :2] for batch in batches]))

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        skin = read_skin(batch["lightstage"], self.head)
        texture = evenly_lit(skin)
        base, refined = cast(Normals, module).explain(texture)
        early = {f"base_{n}": self.config.base_weight * v for n, v in self._objective(base, skin).items()}
        return self._objective(refined, skin) | early

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        skin = read_skin(batch["lightstage"], self.head)
        texture = evenly_lit(skin)
        base, refined = cast(Normals, module).explain(texture)
        losses = self._objective(refined, skin)
        return losses | {
            "loss": total(losses),
            "base_loss": total(self._objective(base, skin)),
        }

    @torch.no_grad()
    def blind(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """The training mean."""
        skin = read_skin(batch["lightstage"], self.head)
        mean = upright(cast(Normals, module).basis.mean_1chw).expand_as(skin.tangent_normal_b3hw)
        return total(self._objective(mean, skin))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: the texture, the patches' base, refined, truth."""
        skin = read_skin(batch["lightstage"], self.head)
        texture = evenly_lit(skin)
        normals = (*cast(Normals, module).explain(texture), skin.tangent_normal_b3hw)
        return rows(to_srgb(texture), *((0.5 + 0.5 * n) * skin.inside_11hw for n in normals))

    def _objective(self, normals_b3hw: Tensor, skin: Skin) -> dict[str, Tensor]:
        truth, inside = skin.tangent_normal_b3hw, skin.inside_11hw
        return {
            "cosine": self.config.cosine_weight * cosine(normals_b3hw, truth, inside),
            "l1": l1(normals_b3hw, truth, inside),
            "gradient": self.config.gradient_weight * gradient(normals_b3hw, truth, inside),
        }
