"""A local copy of the shipped cluster grows for submitted jobs and shrinks when idle.

The copy has the node types of ``ray_cluster.yaml``; its nodes are processes of this machine. Two jobs make data and
train a stage, with ``ray job submit --working-dir .`` as on the real cluster. Needs a checkout of the repository.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosar.errors import ConfigError, RunError
from mosar.platform import cluster
from mosar.platform.cluster import local_autoscaler
from mosar.platform.monitoring import plots

CHECKOUT = Path(__file__).resolve().parents[3]
SHIPPED = CHECKOUT / "ray_cluster.yaml"
_COLOURS = {"head": "#7f8c8d", "data": "#2980b9", "train": "#c0392b"}
_PEOPLE = "subjects={train:4,validation:2}"
_JOBS = {
    "make_shards": (
        "source=virtual",
        f"presets.tiny.{_PEOPLE}",
        f"presets.tiny.wild_{_PEOPLE}",
        "presets.tiny.captures=1",
    ),
    "train_stage": ("stage=normals", *(f"train.{key}=2" for key in ("workers", "slices", "batch")), "train.steps=8"),
}


@dataclass(frozen=True)
class Config:
    """Attributes:

    idle_s: seconds after which an idle node is released.
    patience_s: maximum seconds for each job, and for shrinking.
    out: folder for the chart and the output of the jobs; a temporary one if null.
    """

    idle_s: float = 8.0
    patience_s: float = 400.0
    out: str | None = None

    def __post_init__(self) -> None:
        if min(self.idle_s, self.patience_s) <= 0:
            raise ConfigError("idle_s and patience_s: expected more than 0 seconds each")


@dataclass
class Timeline:
    """Nodes by type over time: a row (seconds since the start, type -> count) for every change; and marks."""

    rows: list[tuple[float, dict[str, int]]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def mark(self, text: str) -> None:
        self.marks.append((self.seconds(), text))

    def see(self, nodes: dict[str, int]) -> None:
        if not self.rows or self.rows[-1][1] != nodes:
            self.rows.append((self.seconds(), nodes))

    def most(self) -> int:
        return max(sum(nodes.values()) for _, nodes in self.rows)

    def table(self) -> str:
        events = [(at, " + ".join(f"{n} {kind}" for kind, n in sorted(nodes.items()))) for at, nodes in self.rows]
        return "\n".join(f"{at:7.1f} s  {text}" for at, text in sorted(events + self.marks))


def run(config: Config) -> dict[str, Any]:
    """Run the drill; return ``scaled_up``, ``scaled_down``, ``job_ok``, and counts and times.

    Raises:
        ConfigError: this is not a checkout of the repository.
    """
    if not SHIPPED.is_file():
        raise ConfigError(f"{SHIPPED} is missing; start the drill from a checkout of the repository, which it submits")
    out = Path(config.out) if config.out else Path(tempfile.mkdtemp(prefix="mosar-autoscale-"))
    out.mkdir(parents=True, exist_ok=True)
    shipped = local_autoscaler.load(SHIPPED)
    with tempfile.TemporaryDirectory(prefix="mosar-storage-") as storage:
        with (
            cluster.local_cluster(dashboard=True, shipped=shipped, idle_s=config.idle_s) as local,
            cluster.using(local),
            _watched() as timeline,
        ):
            failed = []
            for job, words in _JOBS.items():
                timeline.mark(job)
                if not _submit(job, words, local, storage, out, config):
                    failed.append(job)
            timeline.mark("jobs done")
            started = cluster.processes_below(local.process)
            down = _shrinks(timeline, config.patience_s)
        left = len(cluster.living(started))
    print(timeline.table())
    (out / "nodes.txt").write_text(timeline.table() + "\n")
    (out / "nodes.png").write_bytes(timeline_chart(timeline))
    print(f"nodes over time: {out / 'nodes.png'}; the output of the jobs is in the same folder")
    ups = [at for at, nodes in timeline.rows if sum(nodes.values()) > 1]
    return {
        "scaled_up": timeline.most() > 1,
        "scaled_down": down and bool(ups),
        "job_ok": not failed,
        "most_nodes": timeline.most(),
        "first_node_s": round(ups[0], 1) if ups else None,
        "total_s": round(timeline.seconds(), 1),
        "processes_left": left,
    }


def short(metrics: dict[str, Any]) -> list[str]:
    """Requirements that were not met."""
    return [f"{name}: false" for name in ("scaled_up", "scaled_down", "job_ok") if not metrics[name]]


def _submit(
    job: str, words: tuple[str, ...], local: cluster.LocalCluster, storage: str, out: Path, config: Config
) -> bool:
    """Submit a job from the checkout, wait for it, and return whether it succeeded. It logs to ``<out>/<job>.log``."""
    assert local.dashboard
    # The job runs `python`: put the one of this environment first, as if the environment were activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **local.environment, "RAY_ADDRESS": local.dashboard, "PATH": path}
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--working-dir", str(CHECKOUT), "--"]
    command += ["python", f"jobs/{job}.py", "preset=tiny", f"storage={storage}", *words]
    with (out / f"{job}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            return process.wait(config.patience_s) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _watched() -> Iterator[Timeline]:
    """Watch the nodes of the connected cluster until the block ends."""
    import ray

    timeline, stop = Timeline(), threading.Event()

    def look() -> None:
        while not stop.wait(0.25):
            alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            timeline.see(dict(Counter(map(_kind, alive))))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield timeline
    finally:
        stop.set()
        thread.join()
    if not timeline.rows:
        raise RunError("the cluster never had a living node")


def _kind(resources: dict[str, float]) -> str:
    if "node:__internal_head__" in resources:
        return "head"
    return "train" if resources.get("GPU") else "data"


def _shrinks(timeline: Timeline, patience_s: float) -> bool:
    """Wait until only the head node is left; return whether it happened within ``patience_s``."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if sum(timeline.rows[-1][1].values()) == 1:
            return True
        time.sleep(0.25)
    return False


def timeline_chart(timeline: Timeline) -> bytes:
    """Draw the nodes by type over time, stacked, with the marks; a PNG file."""
    from matplotlib.figure import Figure

    times = [at for at, _ in timeline.rows]
    end = max(times + [at for at, _ in timeline.marks]) * 1.05 + 1
    figure = Figure(figsize=(10, 4.2), dpi=100, layout="constrained")
    axes = figure.subplots()
    kinds = [[nodes.get(kind, 0) for _, nodes in timeline.rows] for kind in _COLOURS]
    held = [[*counts, counts[-1]] for counts in kinds]
    names = [f"{kind} nodes" for kind in _COLOURS]
    axes.stackplot([*times, end], held, labels=names, colors=list(_COLOURS.values()), step="post")
    for at, text in timeline.marks:
        axes.axvline(at, color="black", lw=1)
        axes.annotate(f" {text}", (at, 1), xycoords=("data", "axes fraction"), va="bottom")
    axes.set(xlim=(0, end), ylim=(0, timeline.most()), yticks=range(timeline.most() + 1), xlabel="seconds")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return plots.figure_png(figure)
