"""Several runs at once on a small cluster: those that fit finish, one waits for room, one that fits no node is refused.

python jobs/drill.py what=contention
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar.errors import ConfigError
from mosar.jobs.fault_injection import toy
from mosar.platform.cluster import local_cluster

_HOLDS = 0.45
"""Share of the cluster's CPUs that the worker of each run holds: two fit at once."""


@dataclass(frozen=True)
class Config:
    """Attributes:

    cpus: logical CPUs of the cluster.
    runs: runs that start at once.
    steps: steps of each.
    patience_s: maximum seconds for all of them.
    """

    cpus: int = 4
    runs: int = 4
    steps: int = 60
    patience_s: float = 900.0

    def __post_init__(self) -> None:
        if self.cpus < 2 or self.runs < 3 or self.steps < 1:
            raise ConfigError(f"got {self}; expected at least 2 cpus, 3 runs, 1 step")


def run(config: Config) -> dict[str, Any]:
    """Return how many runs finished, how many said that they wait, and what the one that fits no node was told."""
    with tempfile.TemporaryDirectory(prefix="mosar-drill-") as name, local_cluster(config.cpus) as cluster:
        folder = Path(name)
        data = toy.make_data(str(folder / "data"), ("labelled", "unlabelled"))
        asks = [*[_HOLDS * config.cpus] * config.runs, 2.0 * config.cpus]
        started = []
        until = time.monotonic() + config.patience_s
        for number, cpus in enumerate(asks):
            train = {"steps": config.steps, "batch": 8, "cpus": cpus, "evaluate_every": config.steps}
            settings = {"run": str(folder / f"run{number}"), "data": data, "pause_s": 0.1, "train": train}
            with (folder / f"{number}.log").open("wb") as log:
                command = [sys.executable, "-m", "mosar.jobs.fault_injection.train", json.dumps(settings)]
                environment = {**os.environ, **cluster.environment}
                started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        try:
            codes = [_code(process, until) for process in started]
        finally:
            for process in started:
                process.kill()
        said = [(folder / f"{number}.log").read_text(errors="replace") for number in range(len(asks))]
    return {
        "finished": codes[:-1].count(0),
        "of": config.runs,
        "waited": sum("waits for room: asks for" in text for text in said[:-1]),
        "refused_code": codes[-1],
        "unfinished": [text[-300:] for code, text in zip(codes, said, strict=True) if code is None],
        "refused": next((line for line in said[-1].splitlines() if "CPUs" in line), said[-1][-300:]),
    }


def _code(process: subprocess.Popen[bytes], until: float) -> int | None:
    """Exit code of a process; None if it still runs at the time ``until``."""
    try:
        return process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def short(metrics: dict[str, Any]) -> list[str]:
    found = []
    if metrics["finished"] < metrics["of"]:
        found.append(f"{metrics['finished']} of {metrics['of']} runs finished")
    if not metrics["waited"]:
        found.append("no run said that it waits")
    if metrics["refused_code"] != 2:
        found.append(f"the run that fits no node ended with {metrics['refused_code']}, not 2")
    return found
