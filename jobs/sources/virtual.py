"""Records from the virtual light stage."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mosar.datasets import lights, schema
from mosar.datasets.schema import Kind
from mosar.datasets.virtual_stage.renderers import Choice, Renderer, check
from mosar.errors import DataError
from mosar.jobs.sources.avatars import Avatars, read_skin
from mosar.platform.data.shards import Record

if TYPE_CHECKING:
    from mosar.datasets.virtual_stage.photographed_skin import PhotographedSkin

GENERATOR = 11
"""Version, raised when a seed gives other people or images; data sets of another version are not continued."""

_SPLIT_STEP, _KIND_STEP, SEED_STEP = 10**7, 10**8, 10**9
_SPLITS = ("train", "validation", "test")

_SKIN = 17  # stream of random numbers of a seed
_TAKES = 12
"""Pictures that are taken of a person, at most, until the detector finds a face for a sample in the wild."""


class Sizes(Protocol):
    """Sizes that a preset gives for samples (read-only attributes)."""

    @property
    def captures(self) -> int: ...
    @property
    def map_size(self) -> int: ...
    @property
    def image_size(self) -> int: ...
    @property
    def shard(self) -> int: ...


@dataclass(frozen=True)
class Skins:
    """Avatars, the share of the people who wear the skin of one, and the licence of their photographs."""

    avatars: Avatars | None = None
    share: float = 0.0
    licence: str | None = None


@dataclass(frozen=True)
class Task:
    """A shard: people by their seeds, ``first`` to ``first + count``, each captured ``captures`` times.

    If ``renderer`` is mixed, ``share`` of the captures are path traced. ``glasses``: share of the people who wear
    glasses, None for the usual one.
    """

    kind: Kind
    split: str
    first: int
    count: int
    captures: int
    map_size: int
    image_size: int
    renderer: Choice = "fast"
    share: float = 0.5
    glasses: float | None = None
    skins: Skins = Skins()


def tasks(
    kind: Kind,
    subjects: Mapping[str, int],
    sizes: Sizes,
    seed: int,
    renderer: Choice = "fast",
    share: float = 0.5,
    glasses: float | None = None,
    skins: Skins = Skins(),
) -> list[Task]:
    """Return the shards of a data set. No person is in two splits, nor in both the light stage and the wild set.

    Raises:
        ConfigError: the renderer is not installed.
    """
    check(renderer)
    people = max(1, sizes.shard // sizes.captures)
    found: list[Task] = []
    for split, count in subjects.items():
        start = seed * SEED_STEP + (kind == "wild") * _KIND_STEP + _SPLITS.index(split) * _SPLIT_STEP
        for first in range(0, count, people):
            number = min(people, count - first), sizes.captures
            pixels = sizes.map_size, sizes.image_size
            found.append(Task(kind, split, start + first, *number, *pixels, renderer, share, glasses, skins))
    return found


def produce(head_path: str | None, location: str, task: Task) -> Iterator[Record]:
    """Yield the records of a shard, each validated against the schema."""
    del location
    import torch

    from mosar.datasets import detection
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.virtual_stage import photographed_skin, skin
    from mosar.datasets.virtual_stage.camera_pipeline import snapshot
    from mosar.datasets.virtual_stage.capture import VirtualStage, capture
    from mosar.datasets.virtual_stage.subjects import sample_subject, some_with_glasses
    from mosar.datasets.virtual_stage.uv_regions import atlas
    from mosar.models.head import load_head

    torch.set_num_threads(1)
    head = load_head(head_path)
    names = lights.TRAIN_LIGHTS if task.split == "train" else lights.HELD_OUT_LIGHTS
    with Detector() as detector:
        for seed in range(task.first, task.first + task.count):
            person = sample_subject(head, seed)
            if task.glasses is not None:
                person = some_with_glasses(person, task.glasses)
            a, worn = atlas(head, task.map_size), _skin(task, seed)
            if worn is not None:
                person = photographed_skin.wear(a, person, worn)
            painted = skin.paint(a, person)
            if worn is not None:
                painted = photographed_skin.dress(a, painted, worn)
            for number in range(task.captures):
                stage = VirtualStage(head, task.map_size, task.image_size, names, _renderer(task, seed, number))
                sample: dict[str, Any] | None = None
                for take in range(number, _TAKES * task.captures, task.captures):
                    sample, linear = capture(stage, person, painted, take)
                    if task.kind == "lightstage":
                        sample |= detection.observe(detector, schema.stored(sample["image"]))
                        break
                    sample = snapshot(sample, linear, seed * 1000 + take, detector)
                    if sample is not None:
                        break
                if sample is None:
                    raise DataError(f"person {seed}: no face is found in {_TAKES} pictures of {task.image_size} pixels")
                sample["capture"]["split"] = task.split
                if worn is not None:
                    sample["capture"] |= {"skin": worn.name, "licence": task.skins.licence or "unknown"}
                members = schema.encode(sample)
                schema.validate(members, task.kind)
                subject = f"{task.kind}-{seed}"
                yield Record(f"{subject}-{number}", task.split, subject, members)


def _renderer(task: Task, seed: int, number: int) -> Renderer:
    """Return the renderer of a capture, drawn at random if the task is mixed."""
    if task.renderer != "mixed":
        return task.renderer
    return "path" if np.random.default_rng([seed, number, 1]).random() < task.share else "fast"


def _skin(task: Task, seed: int) -> "PhotographedSkin | None":
    """The skin of an avatar that a person wears, if any."""
    rng = np.random.default_rng([seed, _SKIN])
    own = task.skins.avatars.of_split(task.split) if task.skins.avatars else ()
    wears = rng.random() < task.skins.share
    return read_skin(own[int(rng.integers(len(own)))]) if wears and own else None


def head_digest(path: str | None) -> str:
    """Digest of the head of the virtual people."""
    from mosar.models.head import load_head

    return load_head(path).digest
