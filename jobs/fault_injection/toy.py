"""A small stage for drills, and its data: a regression with noise, dropout, augmentation and two streams."""

import io
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mosar.platform import storage
from mosar.platform.data import writer
from mosar.platform.data.manifest import open_manifest
from mosar.platform.data.shards import Record
from mosar.platform.data.stream import Decode
from mosar.platform.training.stage import Batch, StreamSpec

SHARDS, SAMPLES, WIDTH = 10, 20, 4
"""Shards per data set (two are held out), samples per shard, and values per sample."""


@dataclass(frozen=True)
class Spec:
    """What the stage reads from a stream; implements ``StreamSpec``."""

    proportion: float
    fields: tuple[str, ...]
    augment: bool
    map_size: int = 1
    crop_size: int = 1


class Toy(nn.Module):
    """A small regression; ``filler`` enlarges checkpoints, so that a worker can be killed while it writes one."""

    mean_c: Tensor
    filler: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1))
        self.register_buffer("mean_c", torch.zeros(WIDTH))
        self.register_buffer("filler", torch.zeros(1 << 22))

    def forward(self, x_bc: Tensor) -> Tensor:
        found: Tensor = self.layers(x_bc - self.mean_c)
        return found[:, 0]


@dataclass(frozen=True)
class Stage:
    """``pause_s``: minimum seconds for a slice of a step. ``pids``: folder for the workers' process ids."""

    pause_s: float
    pids: str
    name: str = "toy"
    requires: tuple[str, ...] = ()
    streams: Mapping[str, StreamSpec] = field(
        default_factory=lambda: {
            "labelled": Spec(0.75, ("x", "y"), augment=True),
            "unlabelled": Spec(0.25, ("x",), augment=False),
        }
    )

    def build(self, parents: Mapping[str, nn.Module]) -> Toy:
        return Toy()

    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        mean_c = torch.cat([batch["labelled"]["x"] for batch in batches]).mean(0)
        module.load_state_dict({"mean_c": mean_c}, strict=False)

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        time.sleep(self.pause_s)
        x, y = batch["labelled"]["x"], batch["labelled"]["y"]
        noise = 0.01 * torch.randn(x.shape, generator=generator)
        smooth = module(batch["unlabelled"]["x"]).square().mean()
        return {"fit": (module(x + noise) - y).square().mean(), "smooth": 1e-3 * smooth}

    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": (module(batch["labelled"]["x"]) - batch["labelled"]["y"]).square().mean()}

    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return batch["labelled"]["y"].square().mean()

    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return torch.full((3, 4, 4), 0.5)


def build(stage: Stage) -> tuple[Stage, nn.Module]:
    """Record the process id of this worker, and build the module."""
    import os

    import ray.train

    folder = Path(stage.pids)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{ray.train.get_context().get_world_rank()}-{os.getpid()}").touch()
    return stage, stage.build({})


def decoder(spec: StreamSpec, augment: bool) -> Decode:
    fields = spec.fields

    def decode(members: Mapping[str, bytes], seed: int) -> dict[str, Any]:
        found = {name: np.load(io.BytesIO(members[f"{name}.npy"]), allow_pickle=False) for name in fields}
        if augment:
            found["x"] = found["x"] + np.random.default_rng(seed).normal(0, 0.01, WIDTH).astype(np.float32)
        return found

    return decode


def make_data(root: str, names: Iterable[str]) -> dict[str, str]:
    """Make small data sets of these names below ``root``; return name -> location."""
    tasks = [(shard, "validation" if shard >= SHARDS - 2 else "train") for shard in range(SHARDS)]
    found = {name: storage.join(root, name) for name in names}
    for name, place in found.items():
        writer.write_dataset(place, tasks, _produce, recipe={"name": name}, schema_version=1, concurrency=0)
    return found


def _produce(task: tuple[int, str]) -> Iterator[Record]:
    shard, split = task
    rng = np.random.default_rng(shard)
    for i in range(SAMPLES):
        x = rng.normal(1, 1, WIDTH).astype(np.float32)
        members = {"x.npy": _npy(x), "y.npy": _npy(np.asarray(np.tanh(x - 1).sum(), np.float32))}
        yield Record(f"s{shard}-{i}", split, f"s{shard}", members)


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def damage(location: str, shard: int, samples: tuple[int, ...]) -> None:
    """Flip a byte of some samples of a shard."""
    manifest = open_manifest(location)
    path = Path(manifest.shard_location(shard))
    content = bytearray(path.read_bytes())
    for extent in manifest.extents(shard, samples):
        content[extent.offset + 600] ^= 1
    path.write_bytes(content)
