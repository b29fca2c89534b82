"""Records of captures or photographs with what a bundle estimates from their pictures: what inference starts from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mosar.errors import PhotographError
from mosar.jobs.sources.photographs import LEFT_OUT
from mosar.platform import storage
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest, open_manifest
from mosar.platform.data.shards import Record

if TYPE_CHECKING:
    from mosar.models.reconstruct.estimate import Estimate

_MAP = 256
"""Texels a side of what is unwrapped of a photograph, which has no maps of its own."""


@dataclass(frozen=True)
class Task:
    """A shard, by its number and split; ``name`` of its file."""

    shard: int
    split: str
    name: str


def tasks(found: Manifest) -> list[Task]:
    """One shard for each shard of the data set."""
    return [Task(number, row.split, row.name) for number, row in enumerate(found.shards()) if row.samples]


def produce(captures: str, bundle: str, fit_steps: int, location: str, task: Task) -> Iterator[Record]:
    """Yield a shard of samples with estimates; note at ``location`` which were left out, and why.

    Args:
        captures: location of captures, or of photographs, of which those without colours are left out.
        bundle: location of the bundle.
        fit_steps: steps of the shape fit.
    """
    from mosar.datasets import schema
    from mosar.reconstructor import Reconstructor

    found = open_manifest(captures)
    extents = found.extents(task.shard, range(found.shards()[task.shard].samples))
    left_out: dict[str, str] = {}
    with Reconstructor(bundle, fit_steps=fit_steps, threads=1, size=512) as reconstructor:
        for extent, members in zip(
            extents, shards.read_samples(found.shard_location(task.shard), extents), strict=True
        ):
            kind = schema.kind_of(members)
            size = schema.decode_member(members, "ao").shape[0] if kind == "lightstage" else _MAP
            try:
                estimate = reconstructor.look(np.asarray(schema.decode_member(members, "image")), face="largest")
            except PhotographError:
                left_out[extent.key] = "no face was found"
                continue
            if estimate.portrait.colourless:
                left_out[extent.key] = "the picture has no colours"
                continue
            added = schema.encode(_sample(estimate, size))
            every = {**members, **added}
            schema.validate(every, kind)
            subject = str(schema.decode_member(members, "capture")["subject"])
            yield Record(extent.key, task.split, subject, every)
    if left_out:
        storage.write_json(storage.join(location, LEFT_OUT, f"{task.name}.json"), left_out)


def _sample(estimate: "Estimate", size: int) -> dict[str, Any]:
    """The members ``schema.ESTIMATE`` with maps of ``size`` texels a side."""
    from torch.nn.functional import interpolate

    from mosar.models.camera import position
    from mosar.models.colour import to_srgb

    seen = estimate.seen
    weight = interpolate(seen.small_weight_11hw, size=(size, size), mode="area")
    colour = interpolate(seen.small_colour_13hw * seen.small_weight_11hw, size=(size, size), mode="area")
    maps = {
        "unwrapped": to_srgb((colour / weight.clamp_min(1e-6)).clamp(0.0, 1.0))[0].permute(1, 2, 0),
        "seen": weight[0, 0],
        "estimate_ao": interpolate(estimate.ao_11hw, size=(size, size), mode="area")[0, 0],
    }
    return {
        **{name: np.rint(value.cpu().numpy() * 255).astype(np.uint8) for name, value in maps.items()},
        "estimate_mesh": estimate.fit.mesh_1v3[0].cpu().numpy(),
        "estimate_light": estimate.light_1lc[0].cpu().numpy(),
        "estimate_eye": position(estimate.fit.camera)[0].cpu().numpy(),
    }
