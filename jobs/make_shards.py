"""Make data sets: source=virtual (light stage and wild, both virtual) or source=photographs folder=PATH.

    python jobs/make_shards.py source=virtual preset=tiny
    python jobs/make_shards.py source=virtual preset=cpu renderer=mixed share=0.2
    python jobs/make_shards.py source=evaluation preset=v1
    python jobs/make_shards.py source=photographs preset=tiny folder=/data/portraits

The same command again continues what is unfinished, or is done.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mosar.config import to_mapping
from mosar.datasets import schema
from mosar.errors import ConfigError
from mosar.jobs import entry
from mosar.jobs.sources import photographs, report, virtual
from mosar.platform import cluster, storage, writer
from mosar.platform.manifest import Manifest

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Sizes:
    """Attributes:

    subjects, wild_subjects: split -> number of people, in the light stage and in the wild.
    captures: of each person.
    map_size, image_size: side of the maps and of the pictures, pixels.
    shard: samples a shard holds at most.
    """

    subjects: Mapping[str, int]
    wild_subjects: Mapping[str, int]
    captures: int
    map_size: int
    image_size: int
    shard: int

    def __post_init__(self) -> None:
        for split, count in [*self.subjects.items(), *self.wild_subjects.items()]:
            if split not in SPLITS or count < 0:
                raise ConfigError(f"presets: got {count} subjects for {split!r}, expected some for {', '.join(SPLITS)}")
        if min(self.captures, self.shard) < 1 or self.map_size < 16 or self.image_size < 64:
            raise ConfigError(
                f"presets: got captures {self.captures}, shard {self.shard}, map_size {self.map_size}, image_size "
                f"{self.image_size}; expected at least 1, 1, 16, 64"
            )


@dataclass(frozen=True)
class MakeShards:
    """Attributes:

    source: virtual; evaluation (the preset's test subjects, path traced under each held-out light); or photographs.
    presets: name -> sizes; ``preset`` chooses one.
    folder: of photographs.
    storage: root of the data; else MOSAR_STORAGE, else ~/.mosar.
    seed: other people for another seed.
    renderer: of virtual captures: fast, path (traced, with Mitsuba), or mixed.
    share: of the captures that are path traced when they are mixed.
    head: another head file than the default.
    concurrency: shards in the making at once; the cluster's cores if null, 0 without Ray.
    """

    source: Literal["virtual", "evaluation", "photographs"] | None = None
    preset: str = "tiny"
    presets: Mapping[str, Sizes] = field(default_factory=dict)
    folder: str | None = None
    storage: str | None = None
    seed: int = 0
    renderer: Literal["fast", "path", "mixed"] = "fast"
    share: float = 0.5
    head: str | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.source is None:
            raise ConfigError("source: missing; expected source=virtual, source=evaluation or source=photographs")
        if self.preset not in self.presets:
            raise ConfigError(f"preset: got {self.preset!r}, expected one of {', '.join(self.presets)}")
        if (self.source == "photographs") != (self.folder is not None):
            raise ConfigError("folder: expected with source=photographs, and only then")
        if not 0 <= self.seed < 1000:
            raise ConfigError(f"seed: got {self.seed}, expected 0 to 999")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share: got {self.share}, expected 0 to 1")


def main(config: MakeShards) -> None:
    root = storage.root(config.storage)
    sizes = config.presets[config.preset]
    if config.source == "photographs":
        assert config.folder is not None
        tasks = photographs.tasks(config.folder, sizes.image_size, sizes.shard)
        jobs: list[tuple[str, Sequence[Any], Callable[..., Any]]] = [
            (f"wild-{config.preset}", tasks, photographs.produce)
        ]
    elif config.source == "evaluation":
        tasks_of = virtual.evaluation_tasks(sizes.subjects.get("test", 0), sizes)
        jobs = [(f"eval-{config.preset}", tasks_of, functools.partial(virtual.produce, config.head))]
    else:
        produce = functools.partial(virtual.produce, config.head)
        drawn = config.seed, config.renderer, config.share
        jobs = [
            (f"virtual-{config.preset}", virtual.tasks("stage", sizes.subjects, sizes, *drawn), produce),
            (f"wild-{config.preset}", virtual.tasks("wild", sizes.wild_subjects, sizes, *drawn), produce),
        ]
    recipe = {"source": config.source, "sizes": to_mapping(sizes), "seed": config.seed, "folder": config.folder}
    if config.source != "photographs":
        recipe |= {"head": virtual.head_digest(config.head), "generator": virtual.GENERATOR}
        recipe |= {"renderer": config.renderer, "share": config.share}
    todo = [(storage.join(root, "data", name), tasks, produce) for name, tasks, produce in jobs if tasks]
    if config.concurrency == 0 or all(_finished(location) for location, _, _ in todo):
        _write(todo, recipe, 0)
    else:
        with cluster.connect():
            _write(todo, recipe, config.concurrency or _cores())


def _write(
    todo: Sequence[tuple[str, Sequence[Any], Callable[..., Any]]], recipe: Mapping[str, Any], concurrency: int
) -> None:
    for location, tasks, produce in todo:
        found = writer.write_dataset(
            location,
            tasks,
            functools.partial(produce, location),
            recipe=recipe,
            schema_version=schema.VERSION,
            concurrency=concurrency,
            on_progress=functools.partial(_progress, location.rsplit("/", 1)[-1]),
        )
        print(f"{location}: {_counts(found)}")
        for line in report.write(found):
            print(f"  {line}")


def _counts(found: Manifest) -> str:
    return ", ".join(f"{split} {found.split(split).samples}" for split in found.splits)


def _finished(location: str) -> bool:
    return storage.exists(storage.join(location, "shards.parquet"))


def _progress(name: str, done: int, of: int) -> None:
    print(f"{name}: {done} of {of} shards", file=sys.stderr, flush=True)


def _cores() -> int:
    """Of the machines of the cluster: it may claim more, for readers that mostly wait."""
    import ray

    return (os.cpu_count() or 1) * max(1, sum(node["Alive"] for node in ray.nodes()))


if __name__ == "__main__":
    sys.exit(entry.run(main, MakeShards, "make_shards"))
