"""The evaluation of captures with truth: what an actor does with a chunk of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.avatar import Avatar
from mosar.jobs.evaluation.avatar import appearance, shape, sheets
from mosar.jobs.evaluation.avatar.appearance import References
from mosar.jobs.evaluation.avatar.reconstruction import Bench, Result
from mosar.jobs.evaluation.avatar.record import Record
from mosar.jobs.evaluation.avatar.rows import NO_NETWORK, OURS, build_rows
from mosar.jobs.evaluation.avatar.truth import Capture, Place, read_captures


@dataclass(frozen=True)
class OnTruth:
    """Start of an actor: ``location`` of the data set, ``bundle``'s location, whether sheets are drawn."""

    location: str
    bundle: str
    sheets: bool = True

    def __call__(self) -> "Worker":
        return Worker(self, Bench(self.bundle))


class Worker:
    """Evaluates chunks: each capture's "another person" is the next one of the chunk that shows somebody else."""

    def __init__(self, about: OnTruth, bench: Bench) -> None:
        self.about, self.bench = about, bench

    def close(self) -> None:
        """Close the detectors."""
        self.bench.close()

    @torch.no_grad()
    def __call__(self, chunk: Sequence[Place]) -> list[Record]:
        captures = read_captures(self.about.location, chunk, self.bench.head)
        results = [self.bench.reconstruct(capture.photograph_hw3) for capture in captures]
        others = another([c.subject for c in captures], results)
        return [self._record(*of) for of in zip(captures, results, others, strict=True)]

    def _record(self, capture: Capture, result: Result, other: Avatar | None) -> Record:
        if result.avatar is None:
            return Record(capture.key, capture.subject, result.failure)
        bench, ours = self.bench, result.avatar
        rows = build_rows(ours, result.points_n2, bench.prior, other)
        rows[NO_NETWORK] = bench.without_networks(capture.photograph_hw3)
        values = {name: measure(row, capture, bench.references) for name, row in rows.items()}
        values[OURS]["tone_inside"] = appearance.tone_inside(ours, capture)
        arrays = {name: set_arrays(row, capture, bench.average_v3) for name, row in rows.items()}
        facts = {
            "yaw": capture.yaw,
            "pitch": capture.pitch,
            "detail_mm": capture.detail_mm,
            "tone": values[OURS].get("true_lightness", np.nan),
        }
        tiles = sheets.truth_tiles(ours, capture) if self.about.sheets else {}
        return Record(capture.key, capture.subject, "", result.seconds, facts, values, arrays, tiles)


def measure(row: Avatar, capture: Capture, references: References) -> dict[str, float]:
    """Every measure of one avatar of one capture."""
    return shape.shape_metrics(row, capture.truth) | appearance.appearance_metrics(row, capture, references)


def set_arrays(row: Avatar, capture: Capture, average_v3: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """What ``slope``, ``correlation`` and ``light_spread`` of the whole set are made of."""
    head = capture.truth.head
    true = shape.array(capture.truth.neutral_1v3)
    deviations = {
        "deviation": shape.deviation(head, shape.array(row.neutral_1v3), true, average_v3),
        "true_deviation": shape.deviation(head, true, true, average_v3),
    }
    return {name: d.astype(np.float32) for name, d in deviations.items()} | appearance.spread_maps(row.maps, capture)


def another(subjects: Sequence[str], results: Sequence[Result]) -> list[Avatar | None]:
    """For each photograph the avatar of the next one, in a ring, that shows another person; None if there is none."""
    found: list[Avatar | None] = []
    for number, subject in enumerate(subjects):
        ring = [(number + step) % len(subjects) for step in range(1, len(subjects))]
        apart = [results[i].avatar for i in ring if subjects[i] != subject]
        found.append(next((avatar for avatar in apart if avatar is not None), None))
    return found
