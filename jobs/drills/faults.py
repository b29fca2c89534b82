"""A short training, disturbed in every way, has to end with the weights and the order of an undisturbed one.

Workers and drivers are killed from outside, at moments that the run's own records show. See docs/runs.md.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mosar.errors import ConfigError, RunError
from mosar.jobs import entry
from mosar.jobs.drilling import lab, toy
from mosar.jobs.drilling import node as node_process
from mosar.jobs.drilling.lab import Training
from mosar.platform import cluster
from mosar.platform import run as runs
from mosar.platform.manifest import open_manifest


@dataclass(frozen=True)
class Config:
    """Attributes:

    preset: length of the training.
    concurrency: faults at once.
    only: names of faults; by default all.
    report: folder of the Markdown report; by default none is kept.
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
            raise ConfigError(f"only: no fault {unknown[0]!r}; expected some of {', '.join([*FAULTS, *ALONE])}")


@dataclass(frozen=True)
class Result:
    """What came of one fault: its run's summary and lines, the ones of the undisturbed run, seconds."""

    name: str
    what: str
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    wanted: dict[str, Any]
    wanted_lines: list[dict[str, Any]]
    same_size: bool
    seconds: float

    @property
    def weights(self) -> bool:
        return bool(self.summary["weights_sha256"] == self.wanted["weights_sha256"])

    @property
    def order(self) -> bool:
        return bool(self.summary["order"] == self.wanted["order"])

    @property
    def loss_difference(self) -> float:
        wanted = float(self.wanted["heldout"]["end"])
        return abs(float(self.summary["heldout"]["end"]) - wanted) / abs(wanted)

    def samples(self) -> tuple[int, int]:
        """(lost, repeated) over the whole run."""
        found, wanted = _samples(self.lines), _samples(self.wanted_lines)
        return sum((wanted - found).values()), sum((found - wanted).values())


def worker_killed(training: Training) -> str:
    driver = training.start()
    training.reach(11, driver)
    training.kill(1)
    training.finish(driver)
    return "worker 1 killed (-9) in step 12"


def worker_killed_in_checkpoint(training: Training) -> str:
    driver = training.start()
    folders = training.folder / "checkpoints"
    seen: list[int] = []

    def unfinished() -> bool:
        for path in folders.glob("*"):
            if int(path.name) > 8 and not (path / "state.json").exists() and any(path.iterdir()):
                os.kill(training.workers()[0], signal.SIGKILL)
                seen.append(int(path.name))
        return bool(seen)

    lab.wait(unfinished, "a checkpoint in the making", driver, pause_s=0.001)
    if (folders / f"{seen[0]:09d}" / "state.json").exists():
        driver.kill()
        raise RunError("the checkpoint was finished before the worker was killed; try again")
    training.finish(driver)
    return f"worker 0 killed (-9) while it wrote the checkpoint of step {seen[0]}"


def worker_killed_at_the_edge(training: Training) -> str:
    """Of the first stream: its 160 samples, 12 a step, end in step 14."""
    driver = training.start()
    training.reach(13, driver)
    training.kill(0)
    training.finish(driver)
    return "worker 0 killed (-9) in step 14, where an epoch ends"


def driver_killed(training: Training) -> str:
    driver = training.start()
    training.reach(19, driver)
    driver.kill()
    training.finish(driver, -signal.SIGKILL)
    training.finish()
    return "driver killed (-9) in step 20, same command again"


def job_stopped(training: Training) -> str:
    """By Ray's own commands."""
    name = training.folder.name
    driver = training.submit(name)
    stopper = training.stopper(name)
    training.reach(18, driver)
    training.finish(stopper, line="\n")
    said = training.finish(driver)
    step = _stopped(training, said)
    training.finish(training.submit(f"{name}-again"))
    return f"`ray job stop`: a checkpoint of step {step} was left; submitted again"


def interrupted(training: Training) -> str:
    driver = training.start()
    training.reach(18, driver)
    driver.send_signal(signal.SIGINT)
    step = _stopped(training, training.finish(driver, entry.INTERRUPTED))
    training.finish()
    return f"driver interrupted (SIGINT): a checkpoint of step {step} was left; same command again"


def _stopped(training: Training, said: str) -> int:
    """The step that a training says it was stopped at; it has to be a checkpoint's, and no other step done after it."""
    newest = int(training.checkpoints()[-1].name)
    if f"saved at step {newest} of" not in said or not 18 <= newest == training.step() < training.train["steps"]:
        raise RunError(f"stopped after step {training.step()}, the newest checkpoint is of {newest}: {said[-500:]}")
    return newest


def power_cut(training: Training) -> str:
    driver = training.start()
    training.reach(21, driver)
    driver.kill()
    for rank in (0, 1):
        training.kill(rank)
    training.finish(driver, -signal.SIGKILL)
    training.finish()
    return "driver and all workers killed (-9) in step 22, same command again"


def worker_frozen(training: Training) -> str:
    driver = training.start(stall_s=12.0)
    training.reach(21, driver)
    pid = training.kill(1, signal.SIGSTOP)
    try:
        training.finish(driver)
    finally:
        if pid in training.workers().values():
            os.kill(pid, signal.SIGKILL)
    return "worker 1 frozen (SIGSTOP) in step 22; the watchdog ends it"


def checkpoint_truncated(training: Training) -> str:
    driver = training.start()
    training.reach(27, driver)
    driver.kill()
    training.finish(driver, -signal.SIGKILL)
    newest = training.checkpoints()[-1]
    os.truncate(newest / "tensors.safetensors", (newest / "tensors.safetensors").stat().st_size - 8)
    training.finish()
    return f"checkpoint of step {int(newest.name)} truncated by 8 bytes; the run went back to the one before"


def shard_corrupt_stop(training: Training) -> str:
    """The data set is the fault's own: a shard of it is damaged before the start and mended afterwards."""
    shard = Path(training.data["labelled"]) / "shard-000003.tar"
    content = shard.read_bytes()
    _damage(training.data["labelled"], 3, (5,))
    said = training.finish(training.start(), expect=2)
    if shard.name not in said:
        raise RunError(f"the message does not name {shard.name}: {said[-500:]}")
    shard.write_bytes(content)
    training.finish()
    return f"a sample of {shard.name} corrupted: stopped with its name; mended, same command again"


def shard_corrupt_skip(training: Training) -> str:
    """Beside the undisturbed one of ``_references`` on the same damaged data."""
    driver = training.start()
    training.reach(30, driver)
    training.kill(0)
    training.finish(driver)
    skipped = (runs.summary(str(training.folder)) or {})["skipped"]
    met = sum(1 for line in training.lines() for row in line["rows"] for one in row if one < 0)
    if not skipped or skipped != met:
        raise RunError(f"{skipped} samples were counted as skipped, {met} were met")
    return f"3 samples of a shard corrupted, policy skip: {skipped} counted; worker 0 killed (-9) besides"


def storage_full(training: Training) -> str:
    driver = training.start()
    training.reach(9, driver)
    with lab.full_disk(training, 1 << 20):
        said = training.finish(driver, expect=1)
    if "make room" not in said:
        raise RunError(f"the message does not say what to do: {said[-500:]}")
    training.finish()
    return "no room for the checkpoint of step 16: stopped saying so; with room, same command again"


def resized(training: Training) -> str:
    for workers, step in ((2, 13), (1, 29)):
        driver = training.start(workers=workers)
        training.reach(step, driver)
        driver.kill()
        training.finish(driver, -signal.SIGKILL)
    training.finish()
    used = [line["workers"] for line in training.lines()]
    if sorted(set(used)) != [1, 2]:
        raise RunError(f"expected steps by 1 and by 2 workers, got {used}")
    return f"2 workers, then 1, then 2: {used.count(2)} and {used.count(1)} steps"


def node_removed(training: Training) -> str:
    """On a cluster of its own: a head for the readers, two nodes that hold two workers each."""
    with cluster.local_cluster(logical_cpus=1) as running, _node(running) as first, _node(running) as second:
        there = Training(training.folder, training.data, training.train, running.environment)
        driver = there.start()
        there.reach(17, driver)
        pid = there.workers()[0]
        for node in (first, second):
            below = cluster.processes_below(node.pid)
            if pid in below:
                for each in (node.pid, *below):
                    lab.end(each)
        there.finish(driver)
    return "the node of worker 0 killed in step 18; the other node took over"


FAULTS: dict[str, Callable[[Training], str]] = {
    function.__name__: function
    for function in (
        worker_killed,
        worker_killed_in_checkpoint,
        worker_killed_at_the_edge,
        driver_killed,
        job_stopped,
        interrupted,
        power_cut,
        worker_frozen,
        checkpoint_truncated,
        shard_corrupt_stop,
        shard_corrupt_skip,
        storage_full,
        resized,
    )
}
ALONE: dict[str, Callable[[Training], str]] = {"node_removed": node_removed}
"""Faults that harm the cluster: each on its own, after the others."""


def run(config: Config) -> dict[str, Any]:
    """The metrics; a table of the faults is printed on the way."""
    folder = Path(tempfile.mkdtemp(prefix="mosar-drill-"))
    try:
        return _run(config, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(config: Config, folder: Path) -> dict[str, Any]:
    data = toy.make_data(str(folder / "data"), ("labelled", "unlabelled", "damaged", "mended"))
    _damage(data["damaged"], 2, (1, 7, 8))
    steps = {"tiny": 48, "long": 400}[config.preset]
    train = {"steps": steps, "batch": 16, "lr": 1e-2, "ema": 0.9, "workers": 2, "slices": 2, "retries": 6}
    train |= {"checkpoint_every": 8, "keep": 3, "evaluate_every": 24, "evaluate_batches": 2, "calibrate_batches": 2}
    train |= {"log_every": 1, "trace": True, "stall_s": 120.0}
    chosen = [name for name in (*FAULTS, *ALONE) if not config.only or name in config.only]
    results: list[Result] = []

    with cluster.local_cluster(dashboard=True) as running:
        sound = {"labelled": data["labelled"], "unlabelled": data["unlabelled"]}
        skipping = {**train, "on_corrupt": "skip"}
        references = {
            "undisturbed": Training(folder / "undisturbed", sound, train, running.environment),
            "undisturbed_skip": Training(
                folder / "undisturbed_skip", {**sound, "labelled": data["damaged"]}, skipping, running.environment
            ),
        }

        def one(name: str) -> Result:
            wanted = references["undisturbed_skip" if name == "shard_corrupt_skip" else "undisturbed"]
            training = Training(folder / name, wanted.data, wanted.train, running.environment)
            if name == "shard_corrupt_stop":
                training = training.with_data(labelled=data["mended"])
            return _result(name, {**FAULTS, **ALONE}[name], training, wanted)

        with ThreadPoolExecutor(config.concurrency) as pool:
            for name, _ in zip(references, pool.map(lambda t: t.finish(), references.values()), strict=True):
                print(f"{name}: done", flush=True)
            for result in pool.map(one, [name for name in chosen if name in FAULTS]):
                _show(result)
                results.append(result)
    for name in chosen:
        if name in ALONE:
            result = one(name)
            _show(result)
            results.append(result)
    if config.report:
        _report(Path(config.report), results)
    return _metrics(results)


def _result(name: str, fault: Callable[[Training], str], training: Training, wanted: Training) -> Result:
    """A fault that did not go as it should counts as lost weights, order and samples."""
    begun = time.monotonic()
    try:
        what = fault(training)
    except (RunError, OSError, LookupError) as error:
        what = f"FAILED: {error}"
    summary, summary_wanted = runs.summary(str(training.folder)), runs.summary(str(wanted.folder))
    assert summary_wanted is not None
    if summary is None or what.startswith("FAILED"):
        summary = {"weights_sha256": "", "order": "", "heldout": {"end": float("inf")}}
    seconds = time.monotonic() - begun
    return Result(name, what, summary, training.lines(), summary_wanted, wanted.lines(), name != "resized", seconds)


def _metrics(results: list[Result]) -> dict[str, Any]:
    same = [result.weights for result in results if result.same_size]
    resizes = [result.loss_difference for result in results if not result.same_size]
    return {
        "faults": len(results),
        "weights_identical": sum(same) / max(1, len(same)),
        "order_identical": sum(result.order for result in results) / max(1, len(results)),
        "resize_loss_rel_difference": max(resizes, default=0.0),
        "resize_weights_identical": all(result.weights for result in results if not result.same_size),
        "samples_lost": sum(result.samples()[0] for result in results),
        "samples_repeated": sum(result.samples()[1] for result in results),
        "seconds": sum(result.seconds for result in results),
    }


def _samples(lines: list[dict[str, Any]]) -> Counter[tuple[str, int, int]]:
    """Uses of each sample: (stream, row, epochs aside). A sample that another stood in for counts as used."""
    found: Counter[tuple[str, int, int]] = Counter()
    for line in lines:
        for row in line["rows"]:
            for number, one in enumerate(row):
                labelled = number % 8 < 6
                found["labelled" if labelled else "unlabelled", one if one >= 0 else -1 - one, 0] += 1
    return found


def _damage(location: str, shard: int, samples: tuple[int, ...]) -> None:
    """Flip a byte of some samples of a shard."""
    manifest = open_manifest(location)
    path = Path(manifest.shard_location(shard))
    content = bytearray(path.read_bytes())
    for extent in manifest.extents(shard, samples):
        content[extent.offset + 600] ^= 1
    path.write_bytes(content)


@contextmanager
def _node(running: cluster.LocalCluster) -> Iterator[subprocess.Popen[str]]:
    """A node of two logical CPUs beside the head of a local cluster."""
    command = [sys.executable, "-m", "mosar.jobs.drilling.node", running.address, "2"]
    with tempfile.TemporaryFile("a+b") as log:
        node = subprocess.Popen(
            command,
            env={**os.environ, **running.environment},
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
        )

        def up() -> bool:
            log.seek(0)
            return node_process.STARTED in log.read()

        lab.wait(up, "a second node", node)
    try:
        yield node
    finally:
        below = cluster.processes_below(node.pid)
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(10)
        except subprocess.TimeoutExpired:
            for each in (node.pid, *below):
                lab.end(each)
            node.wait()


def _show(result: Result) -> None:
    lost, repeated = result.samples()
    verdict = "identical" if result.weights else f"loss differs by {result.loss_difference:.1e}"
    order = "same" if result.order else "OTHER"
    print(
        f"{result.name:<28} weights {verdict:<12} order {order:<5} lost {lost} repeated {repeated} "
        f"{result.seconds:6.1f} s  {result.what}",
        flush=True,
    )


def _report(folder: Path, results: list[Result]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["| fault | weights | order | lost | repeated | seconds |", "|---|---|---|---|---|---|"]
    for result in results:
        lost, repeated = result.samples()
        weights = "identical" if result.weights else f"held-out loss {result.loss_difference:.1e} off"
        order = "identical" if result.order else "another"
        rows.append(f"| {result.what} | {weights} | {order} | {lost} | {repeated} | {result.seconds:.0f} |")
    (folder / "faults.md").write_text("# Fault drill\n\n" + "\n".join(rows) + "\n")
