"""Training on a real Ray cluster, over real shards: killed, resumed, refused. The stages are toys."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mosar.platform import cluster, writer
from mosar.platform.shards import Record

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0


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
    tasks = [(i, "validation" if i % 4 == 3 else "train") for i in range(8)]
    for name in ("virtual-tiny", "wild-tiny"):
        place = str(storage / "data" / name)
        writer.write_dataset(place, tasks, produce, recipe={"name": name}, schema_version=1, concurrency=0)


def make_checkout(folder: Path) -> Path:
    """A checkout with the real platform and jobs and the toy's stages, head and decoder."""
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
    """A checkout, a storage root and a cluster to train on."""

    checkout: Path
    storage: Path
    cluster: cluster.LocalCluster

    def start(self, job: str, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.cluster.environment, "PYTHONPATH": str(self.checkout)}
        command = [sys.executable, f"jobs/{job}.py", f"storage={self.storage}", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.checkout, env=environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, job: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(job, *arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def submit(self, checkout: Path, *arguments: str) -> subprocess.Popen[str]:
        """Through ``ray job submit``, from another folder."""
        assert self.cluster.dashboard
        environment = {**os.environ, **self.cluster.environment, "RAY_ADDRESS": self.cluster.dashboard}
        environment.pop("PYTHONPATH", None)
        command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--working-dir", str(checkout), "--"]
        command += [sys.executable, "jobs/train_stage.py", f"storage={self.storage}", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def path(self, run: str, name: str) -> Path:
        return self.storage / "runs" / run / name

    def summary(self, run: str) -> dict[str, object]:
        return json.loads(self.path(run, "summary.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    make_data(folder / "storage")
    with cluster.local_cluster(dashboard=True) as running:
        yield House(make_checkout(folder / "checkout"), folder / "storage", running)


@pytest.fixture(scope="module")
def undisturbed(house: House) -> dict[str, object]:
    done = house.run("train_stage", "stage=toy", "run=undisturbed")
    assert done.returncode == 0, done.stderr
    return house.summary("undisturbed")


def wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def calls(log: Path) -> list[tuple[int, str]]:
    """(process, version of the code) of each step that the toy logged."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(pid), version) for pid, version in (line.split() for line in lines if line.count(" ") == 1)]


def test_a_run_records_what_it_did_and_is_not_done_twice(house: House, undisturbed: dict[str, object]) -> None:
    held_out = undisturbed["heldout"]
    assert isinstance(held_out, dict)
    assert held_out["end"] < 0.8 * held_out["start"]
    assert held_out["end"] < held_out["blind"]
    lines = [json.loads(line) for line in house.path("undisturbed", "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [10, 20, 30, 40]
    assert [line["step"] for line in lines if "heldout" in line] == [0, 20, 40]
    record = json.loads(house.path("undisturbed", "record.json").read_text())
    assert record["packages"]["ray"] == "2.60.0"
    assert len(list(house.path("undisturbed", "previews").iterdir())) == 3
    again = house.run("train_stage", "stage=toy", "run=undisturbed")
    assert (again.returncode, again.stderr) == (0, "")
    assert house.summary("undisturbed") == undisturbed


def test_a_changed_configuration_or_data_set_is_refused(house: House, undisturbed: dict[str, object]) -> None:
    refused = house.run("train_stage", "stage=toy", "run=undisturbed", "train.lr=0.5", "train.readers=2")
    assert refused.returncode == 2
    assert "train.lr: 0.01 -> 0.5" in refused.stderr
    assert "readers" not in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_killed_worker_changes_nothing(house: House, undisturbed: dict[str, object], tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = house.start("train_stage", "stage=toy", "run=worker-killed", f"model.log={log}", "model.pause_s=0.02")
    wait_for(lambda: len(calls(log)) > 14)
    os.kill(calls(log)[-1][0], signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out + err
    assert len({pid for pid, _ in calls(log)}) == 2
    assert len(calls(log)) < 40 + 14
    assert house.summary("worker-killed")["weights_sha256"] == undisturbed["weights_sha256"]


def test_a_second_submission_with_edited_code_goes_on_where_the_first_was_killed(
    house: House, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    arguments = ("stage=toy", "run=submitted", f"model.log={log}", "model.pause_s=0.1")
    first = house.submit(house.checkout, *arguments)
    wait_for(lambda: len(calls(log)) > 24)
    wait_for(lambda: house.path("submitted", "checkpoints/000000020/state.json").exists())
    for driver in drivers_of("run=submitted"):
        os.kill(driver, signal.SIGKILL)
    first.communicate(timeout=PATIENCE_S)
    checkpoints = sorted(house.path("submitted", "checkpoints").iterdir())
    newest = checkpoints[-1] / "tensors.safetensors"
    newest.write_bytes(newest.read_bytes()[:-8])
    before = len(calls(log))

    other = make_checkout(tmp_path / "other")
    code = other / "models" / "stages" / "toy" / "__init__.py"
    code.write_text(code.read_text().replace('VERSION = "one"', 'VERSION = "two"'))
    second = house.submit(other, *arguments)
    out, _ = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, out
    assert "cannot be used, going back to the one before" in out
    assert {version for _, version in calls(log)[:before]} == {"one"}
    assert {version for _, version in calls(log)[before:]} == {"two"}
    assert len(calls(log)) - before == 40 - int(checkpoints[-2].name)
    assert house.summary("submitted")["weights_sha256"] == undisturbed["weights_sha256"]
    steps = [json.loads(line) for line in house.path("submitted", "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in steps if "loss" in line] == [10, 20, 30, 40]


def drivers_of(word: str) -> list[int]:
    """Processes that run train_stage.py with this argument, the submitting ones aside."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            arguments = (process / "cmdline").read_bytes().decode().split("\0")
            if word in arguments and "jobs/train_stage.py" in arguments[1:2]:
                found.append(int(process.name))
    return found


def test_a_damaged_shard_stops_the_run_with_its_name_and_the_sample(house: House, tmp_path: Path) -> None:
    make_data(tmp_path)
    shard = tmp_path / "data" / "virtual-tiny" / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    content[1024 * 5] ^= 1
    shard.write_bytes(content)
    broken = House(house.checkout, tmp_path, house.cluster).run("train_stage", "stage=toy")
    assert broken.returncode == 2, broken.stderr
    assert "shard-000001.tar: sample 's1-" in broken.stderr
    assert "Traceback" not in broken.stderr


def test_train_all_goes_on_without_a_failed_stage(house: House, undisturbed: dict[str, object], tmp_path: Path) -> None:
    make_data(tmp_path)
    own = House(house.checkout, tmp_path, house.cluster)
    first = own.run("train_all", "train.workers=1")
    assert first.returncode == 1, first.stderr
    assert first.stderr.splitlines()[0] == "failed: 1 of 3 stages failed"
    assert first.stderr.splitlines()[1].strip().startswith("broken:")
    assert "broken on purpose" in first.stderr
    toy = own.summary("toy-tiny")
    assert toy["weights_sha256"] == undisturbed["weights_sha256"]
    assert own.summary("child-tiny")["steps"] == 40
    assert "broken" in first.stdout
    again = own.run("train_all", "stages=[toy,child]")
    assert (again.returncode, again.stdout) == (0, "every stage is trained already\n")
    missing = own.run("train_all", "stages=[child]")
    assert missing.returncode == 2
    assert "'child' requires 'toy'" in missing.stderr
