"""Records of the evaluation set: path traced captures of people who are in no other set, under held-out lights."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from mosar.datasets import lights, schema
from mosar.datasets.virtual_stage.renderers import Renderer, check
from mosar.jobs.sources.virtual import SEED_STEP, Sizes
from mosar.platform.data.shards import Record

GENERATOR = 10
"""Version of the people and pictures, apart from that of ``source=virtual``. Whoever changes what this source draws
raises it and gives the set another name, because its figures are not comparable any more."""
FIRST = 1001 * SEED_STEP
"""First seed of the people: above every seed that a training data set can have."""
TONE_GROUPS = 5
"""Equal parts of the range of skin tones; person i belongs to group i modulo it."""
SCANNED = 1.0
"""Share of people whose shapes come from the scans' statistics alone."""
LARGE_PX = 768
YAWS = (0.0, -35.0, 35.0)
"""Cameras of the people who are seen from several sides, degrees to their left."""
_TRIES = 1000

Part = str
PARTS: tuple[Part, ...] = ("eval", "eval_large", "eval_views")
"""First words of the names of the data sets: all people under each held-out light; some of them larger; views of some
under one light."""


@dataclass(frozen=True)
class Task:
    """A shard: people by their numbers, each in ``captures``: light, number of the capture, and yaw of the camera."""

    people: tuple[int, ...]
    captures: tuple[tuple[str, int, float | None], ...]
    map_size: int
    image_size: int
    renderer: Renderer


def tasks(part: Part, people: int, sizes: Sizes, renderer: Renderer = "path") -> list[Task]:
    """Return the shards of a part of the set for its first ``people`` people.

    Raises:
        ConfigError: the path tracer is not installed.
    """
    check(renderer)
    names = lights.HELD_OUT_LIGHTS
    captures: tuple[tuple[str, int, float | None], ...] = tuple((name, n, None) for n, name in enumerate(names))
    if part == "eval_views":
        captures = tuple((names[0], len(names), yaw) for yaw in YAWS)
    size = LARGE_PX if part == "eval_large" else sizes.image_size
    each = 1 if part == "eval_large" else max(1, sizes.shard // len(captures))  # large pictures take minutes
    numbers = [tuple(range(first, min(first + each, people))) for first in range(0, people, each)]
    return [Task(own, captures, sizes.map_size, size, renderer) for own in numbers]


def seed_of(head_path: str | None, person: int) -> int:
    """Seed of a person of the set: the first one of their own whose skin tone lies in their group."""
    from mosar.datasets.virtual_stage.subjects import DARKNESS, sample_subject
    from mosar.models.head import load_head

    low, high = np.linspace(*DARKNESS, TONE_GROUPS + 1)[person % TONE_GROUPS :][:2]
    for seed in range(FIRST + person * _TRIES, FIRST + (person + 1) * _TRIES):
        if low <= sample_subject(load_head(head_path), seed, SCANNED).tone[0] < high:
            return seed
    raise ValueError(f"person {person}: none of {_TRIES} seeds has a tone in [{low}, {high})")


def has_detail(person: int) -> bool:
    """Whether a person's shape has detail outside the span of the head's modes: every second one of each tone."""
    return person // TONE_GROUPS % 2 == 1


def produce(head_path: str | None, location: str, task: Task) -> Iterator[Record]:
    """Yield the records of a shard, each validated against the schema."""
    del location
    import torch

    from mosar.datasets import detection
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.virtual_stage import detail, skin
    from mosar.datasets.virtual_stage.capture import VirtualStage, capture
    from mosar.datasets.virtual_stage.subjects import THICK_RIMS, sample_subject
    from mosar.datasets.virtual_stage.uv_regions import atlas
    from mosar.models.head import load_head

    torch.set_num_threads(1)
    head = load_head(head_path)
    with Detector() as detector:
        for number in task.people:
            person = sample_subject(head, seed_of(head_path, number), SCANNED)
            person = replace(person, traits={**person.traits, "rims": THICK_RIMS})
            offset, size = detail.outside_span(head, person.seed) if has_detail(number) else (None, 0.0)
            painted = skin.paint(atlas(head, task.map_size), person)
            for index, (light, take, yaw) in enumerate(task.captures):
                stage = VirtualStage(
                    head, task.map_size, task.image_size, (light,), task.renderer, metering=("incident",)
                )
                sample, _ = capture(stage, person, painted, take, offset, yaw)
                sample |= detection.observe(detector, schema.stored(sample["image"]))
                told = {"split": "test", "person": number, "tone_group": number % TONE_GROUPS, "detail_mm": size}
                sample["capture"] |= told | ({} if yaw is None else {"yaw": yaw})
                members = schema.encode(sample)
                schema.validate(members, "lightstage")
                subject = f"evaluation-{number:03d}"
                yield Record(f"{subject}-{index}", "test", subject, members)
