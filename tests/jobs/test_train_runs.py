"""Training of toy stages on a real Ray cluster and real shards: killed, resumed, refused, and watched by Prometheus."""

import contextlib
import functools
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock

from mosar.platform import cluster
from mosar.platform.data import writer
from mosar.platform.data.shards import Record
from mosar.platform.runs import checkpoint

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 600.0
FROZEN = ("stage=toy", "run=frozen", "model.pause_s=0.1", "train.slices=2", "train.workers=2", "train.stall_s=60")
FULL = ("stage=toy", "model.pause_s=0.1", "run=full", "train.slices=2", "train.workers=2")
SLOWLY = ("stage=toy", "model.pause_s=0.1", "run=submitted", "train.slices=2")

TRAIN_ALL = """
import contextlib, io, json, sys
from mosar.jobs import hydra_main, train_all
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = hydra_main.run(train_all.main, train_all.TrainAll, "train_all", words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""
"""Runs the job several times in one process, because loading torch and Ray takes longest."""


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def produce(task: tuple[int, str]) -> Iterator[Record]:
    index, split = task
    rng = np.random.default_rng(index)
    for i in range(12):
        x = rng.normal(1, 1, 4).astype(np.float32)
        members = {"x.npy": npy(x), "y.npy": npy(np.float32(np.tanh(x - 1).sum()))}
        yield Record(f"s{index}-{i}", split, f"s{index}", members)


def make_data(storage: Path) -> None:
    """Make three data sets; in the last one a byte of the second shard is flipped."""
    tasks = [(i, "validation" if i % 4 == 3 else "train") for i in range(8)]
    for name in ("virtual-tiny", "wild-tiny", "damaged-tiny"):
        place = str(storage / "data" / name)
        writer.write_dataset(place, tasks, produce, recipe={"name": name}, schema_version=1, concurrency=0)
    shard = storage / "data" / "damaged-tiny" / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    content[1024 * 5] ^= 1
    shard.write_bytes(content)


def make_checkout(folder: Path) -> Path:
    """Make a checkout with the real platform and jobs, and the stages, head and decoder of the toy."""
    ignored = shutil.ignore_patterns("__pycache__", "recipe", "page")
    for name in ("mosar", "platform", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(
        ROOT / "tests" / "platform" / "toy", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


@dataclass(frozen=True)
class House:
    """A checkout, a storage root, a cluster to train on, and the address of the Prometheus that watches it, if any."""

    checkout: Path
    storage: Path
    cluster: cluster.LocalCluster
    prometheus: str = ""

    def start(self, job: str, *arguments: str) -> subprocess.Popen[str]:
        return self._start(f"jobs/{job}.py", f"storage={self.storage}", *arguments)

    def _start(self, *words: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.cluster.environment, "PYTHONPATH": str(self.checkout)}
        command, pipe = [sys.executable, *words], subprocess.PIPE
        return subprocess.Popen(command, cwd=self.checkout, env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, job: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(job, *arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def train_all(self, *each: tuple[str, ...]) -> list[tuple[int, str, str]]:
        """Exit code, output and errors of ``train_all`` with each of these arguments, one after another."""
        process = self._start("-c", TRAIN_ALL, json.dumps(each))
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        return [tuple(json.loads(line)) for line in out.splitlines()]

    def submit(self, checkout: Path, *arguments: str, name: str = "") -> subprocess.Popen[str]:
        """Start ``train_stage`` with ``ray job submit`` from the folder ``checkout``."""
        words = ["submit", "--working-dir", str(checkout), *([f"--submission-id={name}"] if name else []), "--"]
        return self.job(checkout, *words, sys.executable, "jobs/train_stage.py", f"storage={self.storage}", *arguments)

    def job(self, folder: Path, *words: str, wait: bool = False) -> subprocess.Popen[str]:
        """Start ``ray job``, which is slow; with ``wait`` it loads, then waits for a line on its standard input."""
        assert self.cluster.dashboard
        environment = {**os.environ, **self.cluster.environment, "RAY_ADDRESS": self.cluster.dashboard}
        environment.pop("PYTHONPATH", None)
        program = "import sys; from ray.scripts.scripts import main; {} sys.exit(main())"
        command = [sys.executable, "-c", program.format("sys.stdin.readline();" if wait else ""), "job", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def path(self, run: str, name: str) -> Path:
        return self.storage / "runs" / run / name

    def summary(self, run: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.path(run, "summary.json").read_text())
        return found


@dataclass(frozen=True)
class Started:
    """A training process, the file in which the toy logs its steps, and a function that disturbs it in a thread."""

    process: subprocess.Popen[str]
    log: Path
    disturb: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        threading.Thread(target=self.disturb, daemon=True).start()

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err or ""

    def steps(self) -> list[tuple[int, str]]:
        return steps(self.log)


def steps(log: Path) -> list[tuple[int, str]]:
    """(process id, version of the code) of each step so far."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), version) for pid, version in (line.split() for line in lines if line.count(" ") == 1)]


def disturb(log: Path, checkpoints: Path, stopper: subprocess.Popen[str]) -> None:
    """Kill a worker during the run; stop the job once others have taken over and two checkpoints exist."""
    wait_for(lambda: len(steps(log)) > 2 * 14)
    os.kill(steps(log)[-1][0], signal.SIGKILL)
    wait_for(lambda: len({pid for pid, _ in steps(log)}) == 4)
    wait_for(lambda: len(list(checkpoints.glob("*/state.json"))) == 2)
    stopper.communicate("\n", timeout=PATIENCE_S)


def fill(log: Path) -> None:
    """Before the first checkpoint, prevent the workers from writing large files, as if the disk were full."""
    wait_for(lambda: len({pid for pid, _ in steps(log)}) == 2)
    for pid in {pid for pid, _ in steps(log)}:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))


def freeze(log: Path, stopped: list[psutil.Process]) -> None:
    """Stop a worker's process during the run: it neither ends nor answers."""
    wait_for(lambda: len(steps(log)) > 2 * 14)
    stopped.append(psutil.Process(steps(log)[-1][0]))
    stopped[0].suspend()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    make_data(folder / "storage")
    with contextlib.ExitStack() as stack:
        # Ray's limit for pipelines that stand still, which no run must have: a frozen worker waits for a minute.
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S", "5")
        running = stack.enter_context(cluster.local_cluster(dashboard=True))
        web = stack.enter_context(prometheus(running, folder))
        yield House(make_checkout(folder / "checkout"), folder / "storage", running, web)


@contextlib.contextmanager
def prometheus(running: cluster.LocalCluster, folder: Path) -> Iterator[str]:
    """Address of a Prometheus that scrapes the cluster's nodes every second; empty where it is not installed."""
    program = shutil.which("prometheus")
    if not program:
        yield ""
        return
    with cluster.using(running):
        import ray

        targets = [f"127.0.0.1:{node['MetricsExportPort']}" for node in ray.nodes()]
    web = f"127.0.0.1:{cluster.free_ports(1)[0]}"
    jobs = [{"job_name": "ray", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}]
    (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": jobs}))
    command = [program, f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={web}"]
    command.append(f"--storage.tsdb.path={folder / 'tsdb'}")
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield web
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def runs(house: House, many_runs: FileLock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Started]]:
    """The runs that the tests below inspect, started together because starting takes longest."""
    with many_runs:
        yield from start_runs(house, tmp_path_factory)


def start_runs(house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Started]]:
    stopped: list[psutil.Process] = []
    log, frozen, full = (tmp_path_factory.mktemp("logs") / name for name in ("submitted", "frozen", "full"))
    submitted = house.submit(house.checkout, *SLOWLY, "train.workers=2", f"model.log={log}", name="first")
    checkpoints = house.path("submitted", "checkpoints")
    stopper = house.job(house.checkout, "stop", "first", wait=True)
    started = {
        "submitted": Started(submitted, log, functools.partial(disturb, log, checkpoints, stopper)),
        "all": Started(house.start("train_all", "train.slices=2", "data.damaged=damaged-tiny"), log),
        "frozen": Started(
            house.start("train_stage", *FROZEN, f"model.log={frozen}"),
            frozen,
            functools.partial(freeze, frozen, stopped),
        ),
        "full": Started(house.start("train_stage", *FULL, f"model.log={full}"), full, functools.partial(fill, full)),
    }
    yield started
    for process in stopped:  # psutil never ends another process that has its number by now
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for each in started.values():
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


@pytest.fixture(scope="module")
def undisturbed(house: House, runs: dict[str, Started]) -> dict[str, object]:
    """Summary of the toy's undisturbed run, which is part of train_all's."""
    wait_for(lambda: house.path("toy-tiny", "summary.json").exists() or runs["all"].process.poll() is not None)
    return house.summary("toy-tiny")


def wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_a_killed_worker_then_a_stopped_job_then_fewer_workers_change_nothing(
    house: House, runs: dict[str, Started], undisturbed: dict[str, object], tmp_path: Path
) -> None:
    """The second submission has edited code in another folder, and finds the newest checkpoint truncated."""
    first = runs["submitted"]
    _, out, _ = first.finish()
    assert "'first' was stopped" in out, out
    place = str(house.path("submitted", "checkpoints").parent)
    step = checkpoint.steps(place)[-1]
    assert f"saved at step {step} of 40; the same command continues" in out
    assert step < 40
    assert checkpoint.load(place, step).step == step
    checkpoints = sorted(house.path("submitted", "checkpoints").iterdir())
    newest = checkpoints[-1] / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-8])
    before = len(first.steps())

    other = make_checkout(tmp_path / "other")
    code_file = other / "models" / "stages" / "toy" / "__init__.py"
    code_file.write_text(code_file.read_text().replace('VERSION = "one"', 'VERSION = "two"'))
    second = Started(house.submit(other, *SLOWLY, f"model.log={first.log}"), first.log)
    code, out, _ = second.finish()
    assert code == 0, out
    assert "cannot be used, going back to the one before" in out
    assert {version for _, version in second.steps()[:before]} == {"one"}
    assert {version for _, version in second.steps()[before:]} == {"two"}
    assert len(second.steps()) - before == 2 * (40 - int(checkpoints[-2].name))
    assert house.summary("submitted")["weights_sha256"] == undisturbed["weights_sha256"]
    lines = [json.loads(line) for line in house.path("submitted", "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [10, 20, 30, 40]
    (events,) = house.path("submitted", "tensorboard").iterdir()
    assert events.read_bytes().count(b"train/fit") == 4


def test_a_frozen_worker_is_replaced_and_changes_nothing(
    house: House, runs: dict[str, Started], undisturbed: dict[str, object]
) -> None:
    code, _, err = runs["frozen"].finish()
    assert code == 0, err
    assert len({pid for pid, _ in runs["frozen"].steps()}) > 2
    assert house.summary("frozen")["weights_sha256"] == undisturbed["weights_sha256"]


def test_a_full_storage_stops_a_run_with_a_message_and_changes_nothing(
    house: House, runs: dict[str, Started], undisturbed: dict[str, object]
) -> None:
    code, _, err = runs["full"].finish()
    assert code == 1, err
    assert "make room" in err
    again = house.run("train_stage", *FULL, f"model.log={runs['full'].log}")
    assert again.returncode == 0, again.stderr
    assert house.summary("full")["weights_sha256"] == undisturbed["weights_sha256"]


def test_train_all_goes_on_without_a_stage_whose_data_is_damaged(
    house: House, runs: dict[str, Started], tmp_path: Path
) -> None:
    code, out, err = runs["all"].finish()
    assert code == 1, err
    assert err.splitlines()[0] == "failed: 1 of 3 stages failed"
    assert "broken: " in err
    assert "damaged-tiny/shard-000001.tar: sample 's1-" in err
    assert "Traceback" not in err
    assert house.summary("child-tiny")["steps"] == 40
    assert "broken: failed" in out
    shutil.copytree(house.path("child-tiny", ""), tmp_path / "runs" / "child-tiny")
    again, parent_is_finished, missing = house.train_all(
        (f"storage={house.storage}", "stages=[toy,child]", "train.slices=2"),
        (f"storage={house.storage}", "stages=[child]", "train.slices=2"),
        (f"storage={tmp_path}", "stages=[child]", "train.slices=2"),
    )
    assert again[:2] == parent_is_finished[:2] == (0, "every stage is trained already\n")
    assert missing[0] == 2
    assert "stage 'toy' is not finished" in missing[2]


def test_a_run_records_what_it_did_and_refuses_another_configuration(
    house: House, undisturbed: dict[str, object]
) -> None:
    held_out = undisturbed["heldout"]
    assert isinstance(held_out, dict)
    assert held_out["end"] < 0.8 * held_out["start"]
    assert held_out["end"] < held_out["baseline"]
    lines = [json.loads(line) for line in house.path("toy-tiny", "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [10, 20, 30, 40]
    assert [line["step"] for line in lines if "heldout" in line] == [0, 20, 40]
    record = json.loads(house.path("toy-tiny", "record.json").read_text())
    assert [entry["packages"]["ray"] for entry in record] == ["2.60.0"]
    assert len(list(house.path("toy-tiny", "previews").iterdir())) == 3
    refused = house.run("train_stage", "stage=toy", "train.lr=0.5", "train.readers=2", "train.slices=2")
    assert refused.returncode == 2
    assert "train.lr: 0.01 -> 0.5" in refused.stderr
    assert "readers" not in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_run_starts_from_trained_weights_and_resumes_from_its_checkpoint(
    house: House, undisturbed: dict[str, object]
) -> None:
    """A copy that lacks what came after the first checkpoint ends with the same weights."""
    start = f"warm_start={house.path('toy-tiny', '')}"
    words = ("stage=toy", start, "train.ema=0.9", "train.steps=20", "train.lr=1e-3", "train.slices=2")
    whole = house.run("train_stage", *words, "run=warm")
    assert whole.returncode == 0, whole.stderr
    held_out = undisturbed["heldout"]
    assert isinstance(held_out, dict)
    found = house.summary("warm")["heldout"]
    assert isinstance(found, dict)
    assert found["start"] == pytest.approx(held_out["end"], rel=1e-6)
    fingerprint = json.loads(house.path("warm", "fingerprint.json").read_text())
    assert fingerprint["warm_start"]["weights_sha256"] == undisturbed["weights_sha256"]
    again = house.path("again", "")
    shutil.copytree(house.path("warm", ""), again)
    for name in ("summary.json", "weights.safetensors", f"checkpoints/{20:09d}/state.json"):
        (again / name).unlink()
    assert checkpoint.newest(str(again))[0] is not None
    resumed = house.run("train_stage", *words, "run=again")
    assert resumed.returncode == 0, resumed.stderr
    lines = [json.loads(line) for line in (again / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "heldout" in line] == [0, 20]
    assert house.summary("again")["weights_sha256"] == house.summary("warm")["weights_sha256"]


def test_the_best_checkpoint_is_kept_beside_the_last(house: House, runs: dict[str, Started]) -> None:
    """The recipe of ``child`` learns too fast, keeps one checkpoint, and saves only the last."""
    wait_for(lambda: runs["all"].process.poll() is not None)
    lines = [json.loads(line) for line in house.path("child-tiny", "metrics.jsonl").read_text().splitlines()]
    losses = {line["step"]: line["heldout"]["loss"] for line in lines if "heldout" in line}
    best = min(losses, key=lambda step: losses[step])
    assert 0 < best < 40, losses
    assert checkpoint.steps(str(house.storage / "runs" / "child-tiny")) == [best, 40]


def test_prometheus_scrapes_what_the_runs_report(house: House, runs: dict[str, Started]) -> None:
    if not house.prometheus:
        pytest.skip("no Prometheus on this machine; apt-get install prometheus")
    wait_for(lambda: runs["all"].process.poll() is not None)
    names = ("step", "loss", "samples_per_second", "wait_share", "skipped_samples")
    found = {name: scraped(house.prometheus, f"ray_mosar_train_{name}") for name in names}
    assert all(values for values in found.values()), found
    assert 0 < max(found["step"]) <= 40
    assert max(found["samples_per_second"]) > 0
    assert max(found["skipped_samples"]) == 0
    assert 0 <= min(found["wait_share"]) <= max(found["wait_share"]) <= 1
    assert max(scraped(house.prometheus, "ray_mosar_train_checkpoint_seconds_count")) >= 1


def scraped(web: str, name: str) -> list[float]:
    """All values of a metric over the last half hour."""
    query = urllib.parse.urlencode({"query": f"{name}[30m]"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{web}/api/v1/query?{query}", timeout=5) as answer:
        result = json.load(answer)["data"]["result"]
    return [float(value) for series in result for _, value in series["values"]]
