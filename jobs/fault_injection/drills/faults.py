"""A short training, disturbed in many ways, must end with the weights and the sample order of an undisturbed one."""

import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mosar.errors import ConfigError, RunError
from mosar.jobs.fault_injection import outcome, toy
from mosar.jobs.fault_injection.faults import FAULTS
from mosar.jobs.fault_injection.harness import Training
from mosar.jobs.fault_injection.node_faults import ALONE
from mosar.jobs.fault_injection.outcome import Result
from mosar.platform import cluster
from mosar.platform.runs import run as runs

RESIZED = ("resized", "node_lost_and_back")
"""Faults after which the run continues with another number of workers for a while."""


@dataclass(frozen=True)
class Config:
    """Attributes:

    preset: length of the training.
    concurrency: number of faults that run at once.
    only: names of faults; by default all.
    report: folder for the Markdown report; by default none is written.
    """

    preset: Literal["tiny", "long"] = "tiny"
    concurrency: int = 3
    only: tuple[str, ...] = ()
    report: str | None = None

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise ConfigError(f"concurrency: got {self.concurrency}, expected at least 1")
        unknown = sorted(set(self.only) - set(FAULTS) - set(ALONE))
        if unknown:
            raise ConfigError(f"only: got {unknown[0]!r}, expected some of {', '.join([*FAULTS, *ALONE])}")


def run(config: Config) -> dict[str, Any]:
    """Run the faults, print a line for each, and return the metrics."""
    folder = Path(tempfile.mkdtemp(prefix="mosar-drill-"))
    try:
        return _run(config, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def short(metrics: dict[str, Any]) -> list[str]:
    """Metrics that show differences, or lost or repeated samples."""
    return outcome.short(metrics)


def _run(config: Config, folder: Path) -> dict[str, Any]:
    data = toy.make_data(str(folder / "data"), ("labelled", "unlabelled", "damaged", "mended"))
    toy.damage(data["damaged"], 2, (1, 7, 8))
    steps = {"tiny": 48, "long": 400}[config.preset]
    train = {"steps": steps, "batch": 16, "lr": 1e-2, "ema": 0.9, "workers": 2, "slices": 2, "retries": 6}
    train |= {"checkpoint_every": 8, "keep": 3, "evaluate_every": 24, "evaluate_batches": 2, "calibrate_batches": 2}
    train |= {"log_every": 1, "trace": True, "stall_s": 120.0}
    chosen = [name for name in (*FAULTS, *ALONE) if not config.only or name in config.only]
    results: list[Result] = []

    with cluster.local_cluster(dashboard=True) as running:
        sound = {"labelled": data["labelled"], "unlabelled": data["unlabelled"]}
        skipping, four = {**train, "on_corrupt": "skip"}, {**train, "workers": 4, "slices": 4}
        references = {
            "undisturbed": Training(folder / "undisturbed", sound, train, running.environment),
            "undisturbed_skip": Training(
                folder / "undisturbed_skip", {**sound, "labelled": data["damaged"]}, skipping, running.environment
            ),
            "undisturbed_four": Training(folder / "undisturbed_four", sound, four, running.environment),
        }
        beside = {"shard_corrupt_skip": "undisturbed_skip", "worker_of_four_killed": "undisturbed_four"}

        def one(name: str) -> Result:
            wanted = references[beside.get(name, "undisturbed")]
            training = Training(folder / name, wanted.data, wanted.train, running.environment)
            if name == "shard_corrupt_stop":
                training = training.with_data(labelled=data["mended"])
            return _result(name, {**FAULTS, **ALONE}[name], training, wanted)

        needed = {beside.get(name, "undisturbed") for name in chosen}
        wanted_first = {name: training for name, training in references.items() if name in needed}
        with ThreadPoolExecutor(config.concurrency) as pool:
            for name, _ in zip(wanted_first, pool.map(lambda t: t.finish(), wanted_first.values()), strict=True):
                print(f"{name}: done", flush=True)
            for result in pool.map(one, [name for name in chosen if name in FAULTS]):
                outcome.show(result)
                results.append(result)
    for name in chosen:
        if name in ALONE:
            result = one(name)
            outcome.show(result)
            results.append(result)
    if config.report:
        outcome.report(Path(config.report), results)
    return outcome.metrics(results)


def _result(name: str, fault: Callable[[Training], str], training: Training, wanted: Training) -> Result:
    """Run a fault; one that fails counts as a difference in weights and order."""
    begun = time.monotonic()
    try:
        what = fault(training)
    except (RunError, OSError, LookupError) as error:
        what = f"FAILED: {error}"
    summary, summary_wanted = runs.summary(str(training.folder)), runs.summary(str(wanted.folder))
    assert summary_wanted is not None
    if summary is None or what.startswith("FAILED"):
        summary = {"weights_sha256": "", "sample_order_hash": ""}
    seconds = time.monotonic() - begun
    lines, slices = training.lines(), int(training.train["slices"])
    return Result(name, what, summary, lines, summary_wanted, wanted.lines(), name not in RESIZED, seconds, slices)
