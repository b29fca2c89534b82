"""Shared by the drills: a training in its own process, and functions to watch and to disturb it."""

import contextlib
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar.errors import RunError
from mosar.platform.runs import run

PATIENCE_S = 300.0
_SUBMIT = (sys.executable, "-m", "ray.scripts.scripts", "job", "submit")
_WAIT = "import sys; from ray.scripts.scripts import main; sys.stdin.readline(); sys.exit(main())"


@dataclass(frozen=True)
class Training:
    """A run of the toy stage: folder, data, settings, environment of its cluster, and minimum seconds per slice."""

    folder: Path
    data: Mapping[str, str]
    train: Mapping[str, Any]
    environment: Mapping[str, str]
    pause_s: float = 0.05

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        """Start a driver that trains the run or continues it."""
        return self._popen(self._driver(changes), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def submit(self, name: str) -> subprocess.Popen[str]:
        """Start the driver with ``ray job submit``, which prints the driver's output."""
        command = [*_SUBMIT, f"--submission-id={name}", "--", *self._driver({})]
        return self._popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def ray(self, *words: str) -> subprocess.Popen[str]:
        """Start ``ray WORDS``; it is slow to start, so it loads and then waits for a line on its standard input."""
        pipe = subprocess.PIPE
        return self._popen([sys.executable, "-c", _WAIT, *words], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT)

    def _driver(self, changes: Mapping[str, Any]) -> list[str]:
        settings: dict[str, Any] = {"run": str(self.folder), "data": dict(self.data), "pause_s": self.pause_s}
        settings["train"] = {**self.train, **changes}
        return [sys.executable, "-m", "mosar.jobs.fault_injection.train", json.dumps(settings)]

    def _popen(self, command: list[str], stdout: int, stderr: int, stdin: int | None = None) -> subprocess.Popen[str]:
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(command, env=environment, text=True, stdin=stdin, stdout=stdout, stderr=stderr)

    def finish(self, driver: subprocess.Popen[str] | None = None, expect: int = 0, line: str | None = None) -> str:
        """Send ``line`` to the driver, wait for it to end, and return its output.

        Raises:
            RunError: the driver does not end, or ends with another exit code than ``expect``.
        """
        driver = driver or self.start()
        try:
            out, err = driver.communicate(line, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            driver.kill()
            raise RunError(f"{self.folder.name}: still running after {PATIENCE_S:.0f} s") from error
        said = err or out or ""
        if driver.returncode != expect:
            raise RunError(f"{self.folder.name}: exit code {driver.returncode}, expected {expect}: {said[-2000:]}")
        return said

    def with_data(self, **data: str) -> "Training":
        return dataclasses.replace(self, data={**self.data, **data})

    def lines(self) -> list[dict[str, Any]]:
        """Lines of the metrics, one for each effective step."""
        return [line for line in run.metrics(str(self.folder)) if "loss" in line]

    def step(self) -> int:
        with contextlib.suppress(ValueError, OSError):
            return max((int(line["step"]) for line in self.lines()), default=0)
        return 0

    def workers(self) -> dict[int, int]:
        """Process ids of its living workers by rank."""
        found: dict[int, int] = {}
        for note in sorted(Path(f"{self.folder}-pids").glob("*-*"), key=lambda path: path.stat().st_mtime):
            rank, pid = map(int, note.name.split("-"))
            with contextlib.suppress(OSError):
                if (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                    found[rank] = pid
        return found

    def kill(self, rank: int, number: signal.Signals = signal.SIGKILL) -> int:
        pid = self.workers()[rank]
        os.kill(pid, number)
        return pid

    def reach(self, step: int, driver: subprocess.Popen[str]) -> None:
        """Wait until ``step`` steps are done."""
        wait(lambda: self.step() >= step, f"{self.folder.name}: step {step}", driver)

    def checkpoints(self) -> list[Path]:
        return sorted(path for path in (self.folder / "checkpoints").glob("*") if (path / "state.json").exists())


def wait(ready: Callable[[], bool], what: str, driver: subprocess.Popen[str], pause_s: float = 0.01) -> None:
    """Wait until ``ready()`` is true; raises RunError after a timeout or if the driver ends first."""
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        if time.monotonic() > deadline or driver.poll() is not None:
            said = driver.stderr.read()[-1000:] if driver.stderr and driver.poll() is not None else ""
            driver.kill()
            raise RunError(f"waited in vain for {what}: {said}")
        time.sleep(pause_s)


@contextlib.contextmanager
def full_disk(training: Training, limit: int) -> Any:
    """Prevent workers from writing files of more than ``limit`` bytes, as if the disk were full."""
    stop = threading.Event()

    def limit_all() -> None:
        done: set[int] = set()
        while not stop.wait(0.02):
            for pid in set(training.workers().values()) - done:
                with contextlib.suppress(OSError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                    done.add(pid)

    thread = threading.Thread(target=limit_all, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def end(pid: int) -> None:
    """Kill a process if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
