"""Make data sets: virtual ones (light stage and wild), from a folder of photographs or of studio captures, or from
captures or photographs with what a bundle estimates from their pictures (training data of the texture stages).

    python jobs/make_shards.py source=virtual preset=tiny
    python jobs/make_shards.py source=virtual preset=cpu renderer=mixed share=0.2
    python jobs/make_shards.py source=virtual preset=cpu avatars=/data/avatars name=self      # self-training
    python jobs/make_shards.py source=evaluation preset=v2
    python jobs/make_shards.py source=photographs preset=tiny folder=/data/portraits without=[blurred,small]
    python jobs/make_shards.py source=photographs preset=tiny folder=/data/portraits exclude=held_out.txt
    python jobs/make_shards.py source=photographs preset=cpu folder=/data/portraits segmentation=segmentation-cpu
    python jobs/make_shards.py source=studio preset=paper folder=/data/studio name=spring
    python jobs/make_shards.py source=estimates captures=virtual-cpu preset=cpu
    python jobs/make_shards.py source=studio example=/data/example

Repeat the command to continue unfinished data sets; finished shards are not made again.
"""

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mosar.bundle import RELEASED, locate
from mosar.config import to_mapping
from mosar.datasets import schema
from mosar.datasets.quality import FLAGS
from mosar.errors import ConfigError, DataError
from mosar.jobs import hydra_main
from mosar.jobs.inspection import contact_sheet
from mosar.jobs.sources import (
    avatars,
    estimates,
    evaluation,
    held_out,
    image_files,
    photographs,
    studio,
    trained_segmentation,
    virtual,
)
from mosar.jobs.sources.avatars import Avatars
from mosar.jobs.sources.image_files import Picture
from mosar.jobs.sources.trained_segmentation import TrainedSegmentation
from mosar.platform import cluster, storage
from mosar.platform.data import writer
from mosar.platform.data.manifest import Manifest, open_manifest
from mosar.platform.storage import bundle as bundles
from mosar.platform.storage import digest

SPLITS = ("train", "validation", "test")
KINDS = {
    "virtual": ("virtual", "wild"),
    "evaluation": evaluation.PARTS,
    "photographs": ("wild",),
    "studio": ("studio",),
    "estimates": ("estimated",),
}
"""Source -> first words of the names of the data sets that are made from it."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_TOLD = 5
"""Reasons for left-out files that an error gives."""
_REMEDY = {
    "studio": ' (studio.json can choose: "splits": {"anna": "validation"})',
    "photographs": " (one person in ten is validation: add people)",
}
"""Source -> what to do if a split has no samples."""

Plan = tuple[str, Sequence[Any], Callable[..., Any]]


@dataclass(frozen=True)
class Sizes:
    """Attributes:

    subjects: split -> number of people on the light stage.
    wild_subjects: split -> number of other people, in photographs.
    captures: captures of each person; an evaluation set has one under each held-out light instead.
    large: evaluation only: people who are also captured at 768 pixels.
    views: evaluation only: people who are seen from three sides.
    map_size: side of the maps, pixels.
    image_size: side of the images, pixels.
    shard: maximum number of samples in a shard.
    """

    subjects: Mapping[str, int]
    wild_subjects: Mapping[str, int]
    captures: int
    map_size: int
    image_size: int
    shard: int
    large: int = 0
    views: int = 0

    def __post_init__(self) -> None:
        for split, count in [*self.subjects.items(), *self.wild_subjects.items()]:
            if split not in SPLITS or count < 0:
                raise ConfigError(
                    f"presets: got {count} subjects for {split!r}, expected 0 or more for {', '.join(SPLITS)}"
                )
        people = sum(self.subjects.values())
        if not 0 <= min(self.large, self.views) <= max(self.large, self.views) <= people:
            raise ConfigError(f"presets: got large {self.large}, views {self.views}; expected 0 to {people} people")
        if min(self.captures, self.shard) < 1 or self.map_size < 16 or self.image_size < 64:
            raise ConfigError(
                f"presets: got captures {self.captures}, shard {self.shard}, map_size {self.map_size}, image_size "
                f"{self.image_size}; expected at least 1, 1, 16, 64"
            )


@dataclass(frozen=True)
class MakeShards:
    """Attributes:

    source: virtual; evaluation (the preset's test subjects, path traced under each held-out light, some larger and from
        several sides); photographs; studio, captures of a real light stage (docs/data.md shows the folder); or
        estimates, another data set with what a bundle estimates from its pictures.
    preset: which of ``presets`` to make.
    presets: name -> sizes.
    name: last word of the data sets' names, such as wild-NAME or studio-NAME; default: the preset.
    folder: folder of photographs (files, tars, Parquet) or of studio captures; a path or fsspec URI.
    captures: name of the data set, of captures or photographs, to which estimates are added.
    bundle: bundle that estimates; by default the one that the program ships.
    fit_steps: steps of the shape fit of the estimates.
    example: instead of importing, write an example of a studio's folder here: three people of the virtual light stage.
    without: leave out photographs with these flags (small, blurred, turned, occluded, grey); by default none.
    exclude: text file with names of photographs, or of avatars, to leave out, one a line; jobs/list_held_out.py makes
        one.
    segmentation: what makes the masks of photographs: released (the shipped segmentation, the default), none (the hull
        of the landmarks), or the name of a finished run of stage segmentation.
    licence: licence of the photographs, recorded in every sample.
    subjects: whether each file or each folder of photographs is one person. No person is in two splits.
    storage: root of the data; default: MOSAR_STORAGE, else ~/.mosar.
    seed: seed of the virtual people, 0 to 999.
    renderer: renderer of virtual captures: fast, path (path traced with Mitsuba), or mixed.
    share: share of the captures that are path traced if the renderer is mixed.
    glasses: share of the virtual people who wear glasses; by default 12 % of those below 40 and 35 % of the others.
    avatars: folder of avatars that ``mosar reconstruct`` made of photographs, whose skins some virtual people wear.
    avatar_share: share of the virtual people who do.
    head: head file to use instead of the default.
    concurrency: number of shards made at once; the cluster's cores if null; 0 runs without Ray.
    """

    source: Literal["virtual", "evaluation", "photographs", "studio", "estimates"] | None = None
    preset: str = "tiny"
    presets: Mapping[str, Sizes] = field(default_factory=dict)
    name: str | None = None
    folder: str | None = None
    captures: str | None = None
    bundle: str = RELEASED
    fit_steps: int = 8
    example: str | None = None
    without: tuple[str, ...] = ()
    exclude: str | None = None
    segmentation: str | None = None
    licence: str | None = None
    subjects: Literal["file", "folder"] = "file"
    storage: str | None = None
    seed: int = 0
    renderer: Literal["fast", "path", "mixed"] = "fast"
    share: float = 0.5
    glasses: float | None = None
    avatars: str | None = None
    avatar_share: float = 0.5
    head: str | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        if self.source is None:
            raise ConfigError("source: missing; expected source=virtual, evaluation, photographs, studio or estimates")
        if self.preset not in self.presets:
            raise ConfigError(f"preset: got {self.preset!r}, expected one of {', '.join(self.presets)}")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ConfigError(f"name: got {self.name!r}, expected letters, digits, '_', '-' and '.'")
        if self.example is not None and (self.source != "studio" or self.folder is not None):
            raise ConfigError("example: expected with source=studio, and without folder")
        if self.example is None and (self.source in ("photographs", "studio")) != (self.folder is not None):
            raise ConfigError("folder: expected with source=photographs or source=studio, and only then")
        if (self.captures is not None) != (self.source == "estimates"):
            raise ConfigError("captures: expected with source=estimates, and only then")
        if self.fit_steps < 0:
            raise ConfigError(f"fit_steps: got {self.fit_steps}, expected 0 or more")
        if self.exclude is not None and self.source != "photographs" and self.avatars is None:
            raise ConfigError("exclude: expected with source=photographs or avatars only")
        if self.segmentation is not None and self.source != "photographs":
            raise ConfigError("segmentation: expected with source=photographs only")
        unknown = sorted(set(self.without) - set(FLAGS))
        if unknown:
            raise ConfigError(f"without: got {unknown[0]!r}, expected some of {', '.join(FLAGS)}")
        if not 0 <= self.seed < 1000:
            raise ConfigError(f"seed: got {self.seed}, expected 0 to 999")
        for name in ("share", "glasses", "avatar_share"):
            if not 0 <= (getattr(self, name) or 0) <= 1:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected 0 to 1")
        if self.glasses is not None and self.source != "virtual":
            raise ConfigError("glasses: expected with source=virtual only")
        if self.avatars is not None and (self.source != "virtual" or self.head is not None):
            raise ConfigError("avatars: expected with source=virtual only, and with the default head")


def main(config: MakeShards) -> None:
    if config.example is not None:
        sizes = config.presets[config.preset]
        count = studio.write_example(config.example, config.head, sizes.map_size, sizes.image_size)
        print(f"{config.example}: {count} captures; read them with source=studio folder={config.example}")
        return
    root = storage.root(config.storage)
    found = image_files.find_image_files(config.folder) if config.source == "photographs" and config.folder else []
    locations = [
        storage.join(root, "data", f"{kind}-{config.name or config.preset}") for kind in KINDS[str(config.source)]
    ]
    planned = [plan[0] for plan in _plans(config, locations, [], 0)]  # reports invalid input before anything is begun
    begun = locations if config.source == "photographs" else planned  # a preset may want none of a kind
    recipe = _recipe(config, found)
    if config.avatars is not None:
        skins = _avatars(config)
        told = "; ".join(f"{reason}: {count}" for reason, count in sorted(skins.left_out.items()))
        training, others = (len(skins.of_split(split)) for split in ("train", "validation"))
        print(f"{config.avatars}: avatars for training {training}, for other splits {others}", end="")
        print(f"; left out, {told}" if told else "")
    for location in begun:
        writer.begin(location, recipe, schema.VERSION, _inputs(config, found))
    if config.concurrency == 0 or all(_finished(location) for location in begun):
        _write(_plans(config, locations, found, 0), recipe, 0)
    else:
        with cluster.connect():
            concurrency = config.concurrency or cluster.cpus()
            _write(_plans(config, locations, found, concurrency), recipe, concurrency)


def _plans(config: MakeShards, locations: Sequence[str], found: Sequence[Picture], concurrency: int) -> list[Plan]:
    """Return the location, the tasks and the function that produces records, for each data set that has tasks."""
    sizes = config.presets[config.preset]
    made = functools.partial(virtual.produce, config.head)
    worn = _avatars(config) if config.avatars is not None else None
    skins = virtual.Skins(worn, config.avatar_share, config.licence)
    drawn = config.seed, config.renderer, config.share, config.glasses, skins
    plans: list[tuple[Sequence[Any], Callable[..., Any]]]
    match config.source:
        case "photographs":
            limits = sizes.image_size, sizes.shard, config.without, config.licence, config.subjects
            masked = functools.partial(photographs.produce, _segmentation(config))
            plans = [(photographs.tasks(locations[0], found, *limits, concurrency, _excluded(config)), masked)]
        case "studio":
            own = studio.tasks(str(config.folder), sizes.map_size, sizes.image_size, sizes.shard)
            plans = [(own, functools.partial(studio.produce, config.head))]
        case "estimates":
            captures, bundle = _captures(config), locate(config.bundle, config.storage)
            estimated = functools.partial(estimates.produce, captures.location, bundle, config.fit_steps)
            plans = [(estimates.tasks(captures), estimated)]
        case "evaluation":
            people = (sizes.subjects.get("test", 0), sizes.large, sizes.views)
            tested = functools.partial(evaluation.produce, config.head)
            plans = [
                (evaluation.tasks(part, count, sizes), tested)
                for part, count in zip(evaluation.PARTS, people, strict=True)
            ]
        case _:
            plans = [
                (virtual.tasks("lightstage", sizes.subjects, sizes, *drawn), made),
                (virtual.tasks("wild", sizes.wild_subjects, sizes, *drawn), made),
            ]
    return [(location, tasks, produce) for location, (tasks, produce) in zip(locations, plans, strict=True) if tasks]


def _recipe(config: MakeShards, found: Sequence[Picture]) -> dict[str, Any]:
    """Return everything that determines the content of the data sets."""
    if config.source == "estimates":
        captures = _captures(config)
        own = captures.about.get("recipe", {})
        return {
            "source": config.source,
            "captures": {**own, "digest": captures.digest},
            "bundle": bundles.digest_of(locate(config.bundle, config.storage)),
            "fit_steps": config.fit_steps,
            "head": own.get("head", virtual.head_digest(config.head)),
        }
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
        segmentation = _segmentation(config)
        recipe["segmentation"] = segmentation.sha256 if segmentation else None
        return recipe | {"pictures": digest.of_json([p.label for p in found])}
    recipe |= {"head": virtual.head_digest(config.head)}
    if config.source == "studio":
        return recipe | {"studio": studio.settings(str(config.folder))}
    if config.source == "evaluation":
        return recipe | {"generator": evaluation.GENERATOR}
    wearing: dict[str, Any] = {} if config.glasses is None else {"glasses": config.glasses}
    if config.avatars is not None:
        found_there = _avatars(config)
        skins = {"count": len(found_there.places), "sha256": found_there.sha256, "share": config.avatar_share}
        wearing |= {"avatars": skins, "licence": config.licence}
    return recipe | {"generator": virtual.GENERATOR, "renderer": config.renderer, "share": config.share} | wearing


def _inputs(config: MakeShards, found: Sequence[Picture]) -> dict[str, str]:
    """Return fingerprints of the files from which the data sets are made."""
    if config.source == "photographs":
        return image_files.inputs(str(config.folder), found)
    return studio.inputs(str(config.folder)) if config.source == "studio" else {}


def _captures(config: MakeShards) -> Manifest:
    return open_manifest(storage.join(storage.root(config.storage), "data", str(config.captures)))


@functools.lru_cache(maxsize=1)
def _avatars_below(folder: str, excluded: frozenset[str]) -> Avatars:
    return avatars.find(folder, excluded)


def _avatars(config: MakeShards) -> Avatars:
    return _avatars_below(str(config.avatars), _excluded(config))


def _excluded(config: MakeShards) -> frozenset[str]:
    return held_out.read_names(config.exclude) if config.exclude is not None else frozenset()


def _segmentation(config: MakeShards) -> TrainedSegmentation | None:
    name = config.segmentation or trained_segmentation.RELEASED
    return trained_segmentation.choose(name, storage.root(config.storage))


def _write(todo: Sequence[Plan], recipe: Mapping[str, Any], concurrency: int) -> None:
    for location, tasks, produce in todo:
        try:
            found = writer.write_dataset(
                location,
                tasks,
                functools.partial(produce, location),
                recipe=recipe,
                schema_version=schema.VERSION,
                concurrency=concurrency,
                on_progress=functools.partial(_progress, location.rsplit("/", 1)[-1]),
            )
        except DataError as error:
            reasons = contact_sheet.left_out(location)
            if not reasons:
                raise
            told = "; ".join(f"{reason}: {number}" for reason, number in sorted(reasons.items())[:_TOLD])
            raise DataError(f"{error}; left out, {told}") from error
        print(f"{location}: {_counts(found)}")
        if recipe["source"] != "evaluation":
            for split in sorted({"train", "validation"} - set(found.splits)):
                print(f"  note: no samples in split {split!r}; training needs some{_REMEDY.get(recipe['source'], '')}")
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
