"""Stage ``morphable``: learns identity, expression and reflectance codes from registered meshes and their maps."""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.head.identity_sampling import SCANNED
from mosar.models.morphable.config import Config
from mosar.models.morphable.network import Code, Morphable, vertex_weights
from mosar.models.morphable.synthetic_people import CHUNK, sample_chunk, sample_people
from mosar.models.preview import grey_heads
from mosar.models.stages.spec import StreamSpec

Batch = Mapping[str, Mapping[str, Tensor]]
POOL_SEED, SCANNED_SEED = 1, 2


class Stage:
    """Variational auto-encoder over (neutral, posed) meshes; ``fit_statistics`` fits the principal components.

    Besides the shards' meshes it learns from synthetic people, drawn from the head's own identities and expressions
    (``config.synthetic_per_batch``). For these the mesh of one person with another's expression is known exactly.
    """

    name = "morphable"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        fields = ("mesh", "neutral", "diffuse", "specular")
        self.streams = {"lightstage": StreamSpec(1.0, fields, map_size=config.texture_size)}
        self._weight_v = vertex_weights(head, config.off_face)
        self._pool: dict[int, Tensor] = {}

    def build(self, parents: Mapping[str, nn.Module]) -> Morphable:
        return Morphable(self.head, self.config)

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        module = cast(Morphable, module)
        samples = [batch["lightstage"] for batch in batches]
        meshes = [(s["neutral"], s["mesh"]) for s in samples]
        count, share, device = (
            self.config.synthetic_statistics,
            self.config.scanned_share,
            module.mean_neutral_v3.device,
        )
        meshes += [(d.neutral_nv3, d.meshes()) for d in sample_people(self.head, count, 0, device, share)]
        neutral, mesh = (torch.cat(parts) for parts in zip(*meshes, strict=True))
        scanned = None
        if count and share and SCANNED in self.head.archetype_names:
            half = [d.neutral_nv3 for d in sample_people(self.head, (count + 1) // 2, SCANNED_SEED, device, 1.0)]
            # Every person with the opposite one, so that their mean is exactly that of the scans.
            template_v3 = torch.tensor(self.head.template_v3, device=device)
            scanned = torch.cat([*half, *(2 * template_v3 - some for some in half)])
        module.fit_shape(neutral, mesh, scanned)
        self._pool.clear()  # its components belong to the previous basis
        diffuse = torch.cat([to_linear(s["diffuse"] / 255.0) for s in samples])
        module.fit_reflectance(diffuse, torch.cat([s["specular"] / 255.0 for s in samples]))

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module, c = cast(Morphable, module), self.config
        truth = module.components(batch["lightstage"]["neutral"], batch["lightstage"]["mesh"])
        if c.synthetic_per_batch:
            own, swapped = self._synthetic(module, generator)
            truth = torch.cat([truth, own])
        identity, expression = module.encode_components(truth)
        z_s, z_e = _sample(identity, generator), _sample(expression, generator)
        at = torch.multinomial(self._weight_v.to(truth.device), c.loss_vertices, True, generator=generator)

        def distance(codes_s: Tensor, codes_e: Tensor, truth_bm: Tensor) -> Tensor:
            components = module.decoder(torch.cat([codes_s, codes_e], dim=1))
            return module.to_vertices(components - truth_bm, at).norm(dim=-1).mean()

        rest = module.rest()
        mean_0, log_variance_0 = (part.expand(len(truth), -1) for part in module.expression(rest))
        at_rest = torch.cat([truth[:, : c.identity_basis], rest.expand(len(truth), -1)], dim=1)
        losses = {
            "mesh": distance(z_s, z_e, truth),
            "neutral": c.neutral_weight * distance(z_s, _sample((mean_0, log_variance_0), generator), at_rest),
            "kl": c.kl_weight * (_divergence(*identity) + _divergence(*expression)),
        }
        if c.synthetic_per_batch:
            z_other = _sample(module.identity(swapped[:, : c.identity_basis]), generator)
            losses["swap"] = c.swap_weight * distance(z_other, z_e[-c.synthetic_per_batch :], swapped)
        return losses

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Morphable, module)
        sample = batch["lightstage"]
        recovered = self._reconstruct(module, sample)
        face = torch.tensor(self.head.region("face")).to(recovered.device)
        distance_bv = (recovered - sample["mesh"]).norm(dim=-1)
        return {
            "loss": self._distance(recovered, sample["mesh"]),
            "mesh_mm": distance_bv.mean(),
            "face_mm": distance_bv[:, face].mean(),
        }

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        module = cast(Morphable, module)
        return self._distance(module.average(), batch["lightstage"]["mesh"])

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four heads across; truth above, reconstruction below."""
        sample = {name: value[:4] for name, value in batch["lightstage"].items()}
        rows = [grey_heads(self.head, mesh, 128) for mesh in (sample["mesh"], self._reconstruct(module, sample))]
        return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)

    def _reconstruct(self, module: nn.Module, sample: Mapping[str, Tensor]) -> Tensor:
        module = cast(Morphable, module)
        (identity, _), (expression, _) = module.encode(sample["neutral"], sample["mesh"])
        return module.decode(identity, expression)

    @torch.no_grad()
    def _synthetic(self, module: Morphable, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Components (n, m) of some synthetic people, and of the next person's mesh with the expression of each."""
        chunks = max(1, self.config.synthetic_pool // CHUNK)
        device = module.mean_neutral_v3.device
        number, *_ = torch.randint(chunks, (1,), generator=generator, device=device).tolist()
        if number not in self._pool:
            size = min(CHUNK, self.config.synthetic_pool)
            some = sample_chunk(self.head, number, POOL_SEED, device, size, self.config.scanned_share)
            own = module.components(some.neutral_nv3, some.meshes())
            swapped = module.components(some.neutral_nv3.roll(-1, 0), some.swapped())
            self._pool[number] = torch.cat([own, swapped], dim=1)
        people_nm = self._pool[number]
        chosen = torch.randint(len(people_nm), (self.config.synthetic_per_batch,), generator=generator, device=device)
        own, swapped = people_nm[chosen].chunk(2, dim=1)
        return own, swapped

    def _distance(self, mesh_bv3: Tensor, truth_bv3: Tensor) -> Tensor:
        """Weighted mean distance over the vertices, mm."""
        weight_v = self._weight_v.to(truth_bv3.device)
        return ((mesh_bv3 - truth_bv3).norm(dim=-1) * weight_v).mean() / weight_v.mean()


def _sample(code: Code, generator: torch.Generator) -> Tensor:
    mean, log_variance = code
    noise = torch.randn(mean.shape, generator=generator, device=mean.device)
    return mean + noise * (0.5 * log_variance).exp()


def _divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal distribution, nats per sample."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(dim=1).mean()
