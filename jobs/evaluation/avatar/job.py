"""Run the evaluation: photographs in chunks on Ray Data's actors, then the tables and the report."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mosar.bundle import locate, open_bundle
from mosar.jobs.evaluation.avatar import portraits, report, tables
from mosar.jobs.evaluation.avatar.config import PORTRAITS, Config
from mosar.jobs.evaluation.avatar.on_portraits import OnPortraits, Task
from mosar.jobs.evaluation.avatar.on_truth import OnTruth
from mosar.jobs.evaluation.avatar.prior import load_prior
from mosar.jobs.evaluation.avatar.record import Record
from mosar.jobs.evaluation.avatar.rows import OURS
from mosar.jobs.evaluation.avatar.truth import locate_set, places
from mosar.jobs.evaluation.judges.load import load as load_judges
from mosar.platform import cluster, storage
from mosar.platform.data.actor_map import mapped_by_actors
from mosar.platform.data.manifest import open_manifest

QUICK = 12
"""Photographs of a quick evaluation."""
DRIFTED = 24
"""Portraits that are photographed again."""
_TRUTH_CHUNK = 6

Start = Callable[[], Callable[[Any], list[Record]]]


def evaluate(config: Config) -> dict[str, Any]:
    """Return the metrics of ``ours`` by name; ``rows`` and ``intervals`` hold those of every row.

    With ``compare`` it returns the same for each bundle, by its name.
    """
    root = storage.root(config.storage)
    locations = {name: locate(name, config.storage) for name in config.bundles}
    for location in locations.values():
        load_prior(open_bundle(location).head)  # report invalid input before a cluster is started
    items, chunks, starts = _work(config, root, locations)
    found: dict[str, list[Record]] = {}
    # Ray warns of every pool of actors that Ray Data makes. Read when Ray starts.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    if config.concurrency:
        with cluster.connect():
            for name, start in starts.items():
                found[name] = list(_records(name, items, chunks, start, config.concurrency))
    else:
        for name, start in starts.items():
            found[name] = list(_records(name, items, chunks, start, 0))
    statistics = tables.portrait_statistics if config.set == PORTRAITS else tables.truth_statistics
    summaries = {name: tables.summarise(records, statistics, config.seed) for name, records in found.items()}
    where = storage.join(root, "evaluations", _name(config))
    report.write(where, config, summaries, found)
    metrics = {name: _metrics(summary) for name, summary in summaries.items()}
    about = {"report": storage.join(where, report.PAGE)}
    result = metrics[config.bundle] | about if not config.compare else {"bundles": metrics, **about}
    storage.write_json(storage.join(where, report.METRICS), result)
    print(report.text_table(summaries), flush=True)
    return result


def _work(
    config: Config, root: str, locations: Mapping[str, str]
) -> tuple[list[Any], list[list[int]], dict[str, Start]]:
    """The photographs, their numbers in chunks, and the start of an actor for each bundle."""
    if config.set == PORTRAITS:
        load_judges(root)  # says so if there are none
        pictures = portraits.find_portraits(str(config.folder), config.names)
        pictures = pictures[: _most(config)]
        again = () if config.quick else np.unique(np.linspace(0, len(pictures) - 1, DRIFTED).astype(int)).tolist()
        items: list[Any] = [Task(picture, number in again) for number, picture in enumerate(pictures)]
        starts: dict[str, Start] = {n: OnPortraits(where, root, config.sheets) for n, where in locations.items()}
        return items, portraits.chunks_of(items), starts
    location = locate_set(config.set, root)
    items = list(places(open_manifest(location), config.split))
    items = items[: _most(config)]
    starts = {n: OnTruth(location, where, config.sheets) for n, where in locations.items()}
    return items, portraits.chunks_of(items, _TRUTH_CHUNK), starts


def _most(config: Config) -> int | None:
    limits = [limit for limit in (config.most, QUICK if config.quick else None) if limit is not None]
    return min(limits, default=None)


def _records(
    name: str, items: Sequence[Any], chunks: Sequence[Sequence[int]], start: Start, concurrency: int
) -> Iterator[Record]:
    """Records in the order of the items; progress goes to stderr."""
    began, done = time.monotonic(), 0
    for records in mapped_by_actors([[items[i] for i in chunk] for chunk in chunks], start, concurrency):
        yield from records
        done += len(records)
        left = (time.monotonic() - began) / done * (len(items) - done) / 60
        print(f"{name}: {done} of {len(items)} photographs, about {left:.0f} min left", file=sys.stderr, flush=True)


def _metrics(summary: Mapping[str, Any]) -> dict[str, Any]:
    ours = summary["rows"].get(OURS, {})
    return {**{k: summary[k] for k in ("count", "failed", "seconds_median")}, **ours,
            "rows": summary["rows"], "intervals": summary["intervals"]}  # fmt: skip


def _name(config: Config) -> str:
    bundles = "-".join(name.rstrip("/").rsplit("/", 1)[-1] for name in config.bundles)
    return f"avatar-{config.set.rstrip('/').rsplit('/', 1)[-1]}-{bundles}" + ("-quick" if config.quick else "")
