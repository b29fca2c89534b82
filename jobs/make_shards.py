"""Make data sets: virtual ones (light stage and wild), or from a folder of photographs or of studio captures.

    python jobs/make_shards.py source=virtual preset=tiny
    python jobs/make_shards.py source=virtual preset=cpu renderer=mixed share=0.2
    python jobs/make_shards.py source=evaluation preset=v1
    python jobs/make_shards.py source=photographs preset=tiny folder=/data/portraits without=[blurred,small]
    python jobs/make_shards.py source=photographs preset=tiny folder=/data/portraits exclude=held_out.txt
    python jobs/make_shards.py source=studio preset=paper folder=/data/studio

Repeat the command to continue unfinished data sets; finished shards are not made again.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mosar.config import to_mapping
from mosar.datasets import schema
from mosar.datasets.quality import FLAGS
from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.jobs.inspection import contact_sheet
from mosar.jobs.sources import held_out, image_files, photographs, studio, virtual
from mosar.jobs.sources.image_files import Picture
from mosar.platform import cluster, storage
from mosar.platform.data import writer
from mosar.platform.data.manifest import Manifest
from mosar.platform.storage import digest

SPLITS = ("train", "validation", "test")
KINDS = {"virtual": ("virtual", "wild"), "evaluation": ("eval",), "photographs": ("wild",), "studio": ("studio",)}
"""Source -> first words of the names of the data sets that are made from it."""

Plan = tuple[str, Sequence[Any], Callable[..., Any]]


@dataclass(frozen=True)
class Sizes:
    """Attributes:

    subjects, wild_subjects: split -> number of people, in the light stage and in the wild.
    captures: captures of each person.
    map_size, image_size: side of the maps and of the images, pixels.
    shard: maximum number of samples in a shard.
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
                raise ConfigError(
                    f"presets: got {count} subjects for {split!r}, expected 0 or more for {', '.join(SPLITS)}"
                )
        if min(self.captures, self.shard) < 1 or self.map_size < 16 or self.image_size < 64:
            raise ConfigError(
                f"presets: got captures {self.captures}, shard {self.shard}, map_size {self.map_size}, image_size "
                f"{self.image_size}; expected at least 1, 1, 16, 64"
            )


@dataclass(frozen=True)
class MakeShards:
    """Attributes:

    source: virtual; evaluation (the preset's test subjects, path traced under each held-out light); photographs;
        or studio, captures of a real light stage (docs/data.md shows the folder).
    presets: name -> sizes; ``preset`` chooses one.
    folder: folder of photographs (files, tars, Parquet) or of studio captures; a path or fsspec URI.
    without: leave out photographs with these flags (small, blurred, turned, occluded, grey); by default none.
    exclude: text file with names of photographs to leave out, one a line; jobs/list_held_out.py makes one.
    licence: licence of the photographs, recorded in every sample.
    subjects: whether each file or each folder of photographs is one person. No person is in two splits.
    storage: root of the data; default: MOSAR_STORAGE, else ~/.mosar.
    seed: seed of the virtual people, 0 to 999.
    renderer: renderer of virtual captures: fast, path (path traced with Mitsuba), or mixed.
    share: share of the captures that are path traced if the renderer is mixed.
    head: head file to use instead of the default.
    concurrency: number of shards made at once; the cluster's cores if null; 0 runs without Ray.
    """

    source: Literal["virtual", "evaluation", "photographs", "studio"] | None = None
    preset: str = "tiny"
    presets: Mapping[str, Sizes] = field(default_factory=dict)
    folder: str | None = None
    without: tuple[str, ...] = ()
    exclude: str | None = None
    licence: str | None = None
    subjects: Literal["file", "folder"] = "file"
    storage: str | None = None
    seed: int = 0
    renderer: Literal["fast", "path", "mixed"] = "fast"
    share: float = 0.5
    head: str | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.source is None:
            raise ConfigError("source: missing; expected source=virtual, evaluation, photographs or studio")
        if self.preset not in self.presets:
            raise ConfigError(f"preset: got {self.preset!r}, expected one of {', '.join(self.presets)}")
        if (self.source in ("photographs", "studio")) != (self.folder is not None):
            raise ConfigError("folder: expected with source=photographs or source=studio, and only then")
        if self.exclude is not None and self.source != "photographs":
            raise ConfigError("exclude: expected with source=photographs only")
        unknown = sorted(set(self.without) - set(FLAGS))
        if unknown:
            raise ConfigError(f"without: got {unknown[0]!r}, expected some of {', '.join(FLAGS)}")
        if not 0 <= self.seed < 1000:
            raise ConfigError(f"seed: got {self.seed}, expected 0 to 999")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"share: got {self.share}, expected 0 to 1")


def main(config: MakeShards) -> None:
    root = storage.root(config.storage)
    found = image_files.find_image_files(config.folder) if config.source == "photographs" and config.folder else []
    locations = [storage.join(root, "data", f"{kind}-{config.preset}") for kind in KINDS[str(config.source)]]
    if config.concurrency == 0 or all(_finished(location) for location in locations):
        _write(_plans(config, locations, found, 0), _recipe(config, found), 0)
    else:
        _plans(config, locations, [], 0)  # report invalid input before a cluster is started
        with cluster.connect():
            concurrency = config.concurrency or cluster.cpus()
            _write(_plans(config, locations, found, concurrency), _recipe(config, found), concurrency)


def _plans(config: MakeShards, locations: Sequence[str], found: Sequence[Picture], concurrency: int) -> list[Plan]:
    """Return the location, the tasks and the function that produces records, for each data set that has tasks."""
    sizes = config.presets[config.preset]
    made = functools.partial(virtual.produce, config.head)
    drawn = config.seed, config.renderer, config.share
    plans: list[tuple[Sequence[Any], Callable[..., Any]]]
    match config.source:
        case "photographs":
            limits = sizes.image_size, sizes.shard, config.without, config.licence, config.subjects
            plans = [
                (photographs.tasks(locations[0], found, *limits, concurrency, _excluded(config)), photographs.produce)
            ]
        case "studio":
            own = studio.tasks(str(config.folder), sizes.map_size, sizes.image_size, sizes.shard)
            plans = [(own, functools.partial(studio.produce, config.head))]
        case "evaluation":
            plans = [(virtual.evaluation_tasks(sizes.subjects.get("test", 0), sizes), made)]
        case _:
            plans = [
                (virtual.tasks("lightstage", sizes.subjects, sizes, *drawn), made),
                (virtual.tasks("wild", sizes.wild_subjects, sizes, *drawn), made),
            ]
    return [(location, tasks, produce) for location, (tasks, produce) in zip(locations, plans, strict=True) if tasks]


def _recipe(config: MakeShards, found: Sequence[Picture]) -> dict[str, Any]:
    """Return everything that determines the content of the data sets."""
    sizes = config.presets[config.preset]
    recipe: dict[str, Any] = {
        "source": config.source,
        "sizes": to_mapping(sizes),
        "seed": config.seed,
        "folder": config.folder,
    }
    if config.source == "photographs":
        recipe |= {"without": list(config.without), "licence": config.licence, "subjects": config.subjects}
        if config.exclude is not None:
            names = sorted(_excluded(config))
            recipe["exclude"] = {"names": len(names), "sha256": digest.of_json(names)}
        return recipe | {"pictures": digest.of_json([p.label for p in found])}
    recipe |= {"head": virtual.head_digest(config.head)}
    if config.source == "studio":
        return recipe | {"captures": studio.digest_of(str(config.folder))}
    return recipe | {"generator": virtual.GENERATOR, "renderer": config.renderer, "share": config.share}


def _excluded(config: MakeShards) -> frozenset[str]:
    return held_out.read_names(config.exclude) if config.exclude is not None else frozenset()


def _write(todo: Sequence[Plan], recipe: Mapping[str, Any], concurrency: int) -> None:
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
        lines = contact_sheet.write(found) + (studio.summary(location) if recipe["source"] == "studio" else [])
        for line in lines:
            print(f"  {line}")


def _counts(found: Manifest) -> str:
    return ", ".join(f"{split} {found.split(split).samples}" for split in found.splits)


def _finished(location: str) -> bool:
    return storage.exists(storage.join(location, "shards.parquet"))


def _progress(name: str, done: int, of: int) -> None:
    print(f"{name}: {done} of {of} shards", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, MakeShards, "make_shards"))
