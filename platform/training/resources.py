"""The resources that a training run needs, and checks that the cluster has them."""

import sys
import threading
from collections.abc import Mapping, Sequence

from mosar.errors import ConfigError, StoppedError
from mosar.platform.data.stream import READER_CPUS
from mosar.platform.runs import run
from mosar.platform.training.train_config import TrainConfig

_ROOM_S = 3.0
"""Seconds between looks at whether a run was asked to stop while it waits for room."""


def size(config: TrainConfig, gpus: float) -> dict[str, float]:
    """Resources that a run holds on a cluster with ``gpus`` GPUs: CPUs of its workers and their readers, and GPUs."""
    held = {"CPU": config.workers * (config.cpus + READER_CPUS * config.readers)}
    return held | ({"GPU": min(float(config.workers), gpus)} if on_gpus(config, gpus) else {})


def on_gpus(config: TrainConfig, gpus: float) -> bool:
    """Whether each of a run's workers gets a GPU on a cluster with ``gpus`` GPUs.

    Raises:
        ConfigError: the cluster has fewer GPUs than the smallest number of workers needs.
    """
    fewest = config.min_workers or config.workers
    if config.device == "cpu" or (config.device == "auto" and gpus == 0):
        return False
    if gpus < fewest:
        raise ConfigError(
            f"train.device: {config.device}: {fewest} worker(s) need a GPU each, but the cluster has {gpus:g}; train "
            f"with fewer workers, or on CPUs with train.device=cpu"
        )
    return True


def check_device(location: str, gpus: bool) -> None:
    """Raises ConfigError if a run would resume on another device type, whose arithmetic rounds differently."""
    device = "cuda" if gpus else "cpu"
    begun = next((line["device"] for line in run.metrics(location) if "device" in line), device)
    if begun != device:
        raise ConfigError(
            f"{location}: begun on {begun}, but would continue on {device} and end with other weights; wait for nodes "
            f"with {begun}, or start a new run under another name"
        )


def check_capacity(config: TrainConfig, cpus: float) -> None:
    """Raises ConfigError if the workers would leave no CPU for a reader, so that the run would wait for ever."""
    fewest = config.min_workers or config.workers
    need = fewest * config.cpus
    if need + READER_CPUS > cpus:
        raise ConfigError(
            f"train.workers: {fewest} worker(s) need {need:g} CPUs and a reader needs {READER_CPUS} more, but the "
            f"cluster has {cpus:g}; CPUs are logical: start Ray with a larger --num-cpus, or train with fewer workers"
        )


def check_node(config: TrainConfig, node_cpus: Sequence[float]) -> None:
    """Raises ConfigError if a worker asks for more CPUs than any node has; ``node_cpus`` are the CPUs of each node."""
    most = max(node_cpus, default=0.0)
    if config.cpus > most:
        raise ConfigError(
            f"train.cpus: a worker asks for {config.cpus:g} CPUs, but the largest of the cluster's {len(node_cpus)} "
            f"node(s) has {most:g}; ask for fewer, or start Ray with a larger --num-cpus"
        )


def wait_for_room(config: TrainConfig, gpus: bool, where: str, asked: threading.Event) -> None:
    """Wait until the smallest number of workers and a reader fit beside what runs; say so if they do not at once.

    The CPUs are held together for a moment, so that of several runs that start at once only those begin that fit:
    workers of too many would hold every CPU and leave none for the readers of any.

    Raises:
        StoppedError: ``asked`` was set meanwhile.
    """
    from ray.util.placement_group import placement_group, remove_placement_group

    fewest = config.min_workers or config.workers
    worker = {"CPU": config.cpus, **({"GPU": 1.0} if gpus else {})}
    group = placement_group([worker] * fewest + [{"CPU": READER_CPUS}])
    told = False
    try:
        while not group.wait(timeout_seconds=_ROOM_S):
            if asked.is_set():
                raise StoppedError(f"{where}: not started; the same command starts it")
            if not told:
                _say_waiting(config, worker, where)
                told = True
    finally:
        remove_placement_group(group)


def watch_room(config: TrainConfig, gpus: bool, where: str, ended: threading.Event) -> None:
    """Say once if workers wait for room after all: another run took it between the look and the start.

    Runs in a thread until ``ended`` is set. The last eight digits of a placement group's ID are those of its job.
    """
    import ray
    from ray.util.placement_group import placement_group_table

    job = ray.get_runtime_context().get_job_id()
    worker = {"CPU": config.cpus, **({"GPU": 1.0} if gpus else {})}
    before: set[str] = set()
    while not ended.wait(_ROOM_S):
        table = placement_group_table()
        pending = {name for name, group in table.items() if group["state"] == "PENDING" and name.endswith(job)}
        if pending & before:
            _say_waiting(config, worker, where)
            return
        before = pending


def _say_waiting(config: TrainConfig, worker: Mapping[str, float], where: str) -> None:
    import ray

    there, free = ray.cluster_resources(), ray.available_resources()
    counts = ", ".join(f"{there.get(k, 0):g} {k}, {free.get(k, 0):g} free" for k in worker)
    each = " and ".join(f"{amount:g} {name}" for name, amount in worker.items())
    asks = f"asks for {config.min_workers or config.workers} worker(s) of {each} and {READER_CPUS} CPU to read"
    print(f"{where}: waits for room: {asks}; the cluster has {counts}", file=sys.stderr, flush=True)


def starving(config: TrainConfig, world: int) -> str | None:
    """A warning if no CPU is left for a reader: Ray's elastic policy counts no readers, and other runs hold CPUs."""
    import ray

    there, free = ray.cluster_resources().get("CPU", 0), ray.available_resources().get("CPU", 0)
    held = world * config.cpus
    if held + READER_CPUS > there:
        return (
            f"{world} workers hold {held:g} of the cluster's {there:g} CPUs: their readers wait for a node; "
            f"a larger train.cpus leaves part of each node to the readers"
        )
    if free < READER_CPUS:
        return (
            f"all of the cluster's {there:g} CPUs are held, {held:g} by this run: its readers wait up to "
            f"{config.stall_s:g} s (train.stall_s) for other runs to end or for a new node"
        )
    return None
