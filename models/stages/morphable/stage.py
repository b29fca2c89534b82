"""Stage ``morphable``: learns identity, expression and reflectance codes from registered meshes and their maps."""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.preview import grey_heads
from mosar.models.stages.morphable.config import Config
from mosar.models.stages.morphable.network import Morphable
from mosar.models.stages.spec import StreamSpec

Batch = Mapping[str, Mapping[str, Tensor]]


class Stage:
    """Variational auto-encoder over (neutral, posed) meshes; the reflectance code is a PCA fitted in ``calibrate``."""

    name = "morphable"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        fields = ("mesh", "neutral", "diffuse", "specular")
        self.streams = {"lightstage": StreamSpec(1.0, fields, map_size=config.texture_size)}

    def build(self, parents: Mapping[str, nn.Module]) -> Morphable:
        return Morphable(self.head, self.config)

    @torch.no_grad()
    def calibrate(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        module = cast(Morphable, module)
        samples = [batch["lightstage"] for batch in batches]
        neutral = torch.cat([s["neutral"] for s in samples])
        expression = torch.cat([s["mesh"] for s in samples]) - neutral
        module.mean_neutral_v3.copy_(neutral.mean(dim=0))
        module.mean_expression_v3.copy_(expression.mean(dim=0))
        spread = (neutral - neutral.mean(dim=0)).square().mean().sqrt(), expression.square().mean().sqrt()
        module.offset_mm.copy_(torch.stack(spread).clamp_min(1e-3))
        diffuse = torch.cat([to_linear(s["diffuse"] / 255.0) for s in samples])
        module.fit_reflectance(diffuse, torch.cat([s["specular"] / 255.0 for s in samples]))

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Morphable, module)
        sample = batch["lightstage"]
        identity, expression = module.encode(sample["neutral"], sample["mesh"])
        neutral = module.encode(sample["neutral"], sample["neutral"])[1]
        z_s, z_e, z_0 = (_draw(code, generator) for code in (identity, expression, neutral))
        return {
            "mesh": self._distance(module, module.decode(z_s, z_e), sample["mesh"]),
            "neutral": self._distance(module, module.decode(z_s, z_0), sample["neutral"]),
            "kl": self.config.kl_weight * (_divergence(*identity) + _divergence(*expression)),
        }

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Morphable, module)
        sample = batch["lightstage"]
        recovered = self._reconstruct(module, sample)
        return {
            "loss": self._distance(module, recovered, sample["mesh"]),
            "mesh_mm": (recovered - sample["mesh"]).norm(dim=-1).mean(),
        }

    @torch.no_grad()
    def blind(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        module = cast(Morphable, module)
        average = module.mean_neutral_v3 + module.mean_expression_v3
        return self._distance(module, average, batch["lightstage"]["mesh"])

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Truth above, reconstruction below."""
        sample = {name: value[:4] for name, value in batch["lightstage"].items()}
        rows = [grey_heads(self.head, mesh, 128) for mesh in (sample["mesh"], self._reconstruct(module, sample))]
        return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)

    def _reconstruct(self, module: nn.Module, sample: Mapping[str, Tensor]) -> Tensor:
        module = cast(Morphable, module)
        (identity, _), (expression, _) = module.encode(sample["neutral"], sample["mesh"])
        return module.decode(identity, expression)

    def _distance(self, module: Morphable, mesh_bv3: Tensor, truth_bv3: Tensor) -> Tensor:
        return ((mesh_bv3 - truth_bv3) / module.offset_mm[0]).abs().mean()


def _draw(code: tuple[Tensor, Tensor], generator: torch.Generator) -> Tensor:
    mean, log_variance = code
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean + noise * (0.5 * log_variance).exp()


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal distribution, nats a sample."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1).mean()
