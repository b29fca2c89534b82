"""Training a stage: checks, then a Ray Train run whose workers execute :func:`mosar.platform.worker.work`."""

import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mosar import errors
from mosar.config import to_mapping
from mosar.errors import ConfigError, RunError, StoppedError
from mosar.platform import checkpoint, claim, cluster, run, stopping, storage, stream
from mosar.platform.manifest import open_manifest
from mosar.platform.stage import Stage, StreamSpec
from mosar.platform.stream import READER_CPUS, Decode, Source
from mosar.platform.train_config import WITHOUT_EFFECT, TrainConfig

if TYPE_CHECKING:
    from torch import nn

Decoder = Callable[[StreamSpec, bool], Decode]
"""(what a stage wants of a stream, whether to augment) -> how to decode its samples; must be picklable."""

_FAILURE, _TRACEBACK = "failure.json", "traceback.txt"
_FREE = tuple(f"train.{name}" for name in WITHOUT_EFFECT)


@dataclass(frozen=True)
class RunSpec:
    """All that a worker is told. ``build`` makes the stage and its module, parents' weights loaded."""

    location: str
    build: Callable[[], "tuple[Stage, nn.Module]"]
    training: tuple[Source, ...]
    validation: tuple[Source, ...]
    config: TrainConfig
    submission: str
    identity: Mapping[str, Any]


def prepare(
    location: str,
    stage: Stage,
    build: Callable[[], "tuple[Stage, nn.Module]"],
    data: Mapping[str, str],
    decoder: Decoder,
    config: TrainConfig,
    identity: Mapping[str, Any],
) -> RunSpec:
    """Check everything that can be checked before anything starts; nothing is written.

    Args:
        location: the run's folder.
        data: stream name -> location of its data set.
        identity: JSON-ready: what else decides the result (model, parents); ``train`` and ``data`` are added.

    Raises:
        ConfigError: a stream without data, a batch that cannot be shared out, a run begun with another configuration.
        DataError: a data set that is not there or lacks a split.
    """
    missing = sorted(set(stage.streams) - set(data))
    if missing:
        raise ConfigError(f"data: stage {stage.name!r} also needs data for the stream {missing[0]!r}")
    share = stream.shares({name: spec.proportion for name, spec in stage.streams.items()}, config.batch, config.cut)

    def sources(split: str, seed: int, training: bool) -> tuple[Source, ...]:
        found = []
        for name, spec in sorted(stage.streams.items()):
            manifest = open_manifest(data[name])
            manifest.split(split)
            decode = decoder(spec, training and spec.augment)
            policy = config.on_corrupt if training else "stop"
            found.append(Source(name, data[name], manifest.digest, split, share[name], seed, decode, policy))
        return tuple(found)

    training, validation = sources("train", config.seed, True), sources("validation", 0, False)
    digests = {source.name: {"location": source.location, "digest": source.digest} for source in training}
    full = {**identity, "stage": stage.name, "train": to_mapping(config) | {"slices": config.cut}, "data": digests}
    run.check(location, full, _FREE)
    return RunSpec(location, build, training, validation, config, uuid.uuid4().hex, full)


def fit(spec: RunSpec, asked: threading.Event | None = None) -> dict[str, Any]:
    """Train to the end on the connected cluster, or go on where the run was left; its summary.

    Once ``asked`` is set (see :func:`mosar.platform.stopping.on_signals`) the run saves a checkpoint and stops.

    Raises:
        StoppedError: it was asked to stop.
        DataError, ConfigError: a worker found what it was given unusable.
        RunError: workers failed more often than ``config.retries``.
    """
    finished = run.summary(spec.location)
    if finished is not None:
        return finished
    asked = asked or threading.Event()
    if asked.is_set():
        raise StoppedError(f"{spec.location}: not started; the same command starts it")
    set_environment([spec.config])
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import TrainingFailedError

    from mosar.platform.worker import work

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    config = spec.config
    fewest = config.min_workers or config.workers
    room = cluster.room()
    check_room(config, room)
    most = max(fewest, min(config.workers, int((room - READER_CPUS) / config.cpus)))
    if most < config.workers:
        print(
            f"{spec.location}: at most {most} of {config.workers} workers, for the cluster has {room:g} CPUs; where it "
            f"can grow, {cluster.ROOM} tells how far",
            file=sys.stderr,
        )
    gpus = on_gpus(config, cluster.room("GPU"))
    check_device(spec.location, gpus)
    trainer = TorchTrainer(
        work,
        train_loop_config={"spec": spec},
        scaling_config=ScalingConfig(
            num_workers=most if fewest == most else (fewest, most),
            use_gpu=gpus,
            resources_per_worker={"CPU": config.cpus, **({"GPU": 1} if gpus else {})},
            elastic_resize_monitor_interval_s=config.resize_s,
        ),
        run_config=RunConfig(
            name=spec.submission,
            storage_path=storage.join(spec.location, "ray"),
            failure_config=FailureConfig(max_failures=config.retries),
        ),
    )
    with claim.held(spec.location):
        # Again, and first thing: whoever had the run until now may have begun it with another configuration.
        run.begin(spec.location, spec.identity, _FREE)
        try:
            stopping.call(trainer.fit, asked, spec.location, spec.submission)
        except TrainingFailedError as error:
            _raise_failure(spec)
            where = keep_traceback(spec, str(error))
            raise RunError(f"{spec.location}: training stopped: {_reason(error)} ({where})") from error
        finally:
            if not isinstance(sys.exception(), stopping.UnheardError):
                storage.remove(storage.join(spec.location, "ray"))
    _raise_failure(spec)
    finished = run.summary(spec.location)
    if finished is None and asked.is_set():
        at = f"step {position(spec.location)} of {spec.config.steps}"
        raise StoppedError(f"{spec.location}: saved at {at}; the same command goes on from there")
    if finished is None:
        raise RunError(f"{spec.location}: training ended without a result")
    return finished


def set_environment(configs: Sequence[TrainConfig]) -> None:
    """What Ray Train reads of this process's environment, which runs side by side share; what is set there stays.

    To be called with the configurations of all of them before the first starts; for one alone :func:`fit` does it.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", str(max(config.stall_s for config in configs)))
    if not any(config.elastic for config in configs):  # else a size is thought over after Ray's own, shorter time
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    if cluster.own():  # It has one node, which nobody takes away.
        os.environ.setdefault(stopping.WATCHER, "0")


def size(config: TrainConfig, gpus: float) -> dict[str, float]:
    """What a run holds of a cluster with so many GPUs: its workers' CPUs, a quarter for each of their readers, GPUs."""
    held = {"CPU": config.workers * (config.cpus + READER_CPUS * config.readers)}
    return held | ({"GPU": min(float(config.workers), gpus)} if on_gpus(config, gpus) else {})


def on_gpus(config: TrainConfig, gpus: float) -> bool:
    """Whether a run's workers get a GPU each, on a cluster with so many.

    Raises:
        ConfigError: fewer than its workers need.
    """
    fewest = config.min_workers or config.workers
    if config.device == "cpu" or (config.device == "auto" and gpus == 0):
        return False
    if gpus < fewest:
        raise ConfigError(
            f"train.device: {config.device}: {fewest} worker(s) need a GPU each, the cluster has {gpus:g}; train with "
            f"fewer workers, or on CPUs with train.device=cpu"
        )
    return True


def check_device(location: str, gpus: bool) -> None:
    """Raises ConfigError where a run would go on with other arithmetic than it was begun with."""
    device = "cuda" if gpus else "cpu"
    begun = next((line["device"] for line in run.metrics(location) if "device" in line), device)
    if begun != device:
        raise ConfigError(
            f"{location}: begun on {begun}, it would go on on {device} and end with other weights; wait for nodes with "
            f"{begun}, or begin anew under another name"
        )


def check_room(config: TrainConfig, room: float) -> None:
    """Raises ConfigError where a run's workers would leave no CPU for a reader, and so wait for ever."""
    fewest = config.min_workers or config.workers
    need = fewest * config.cpus
    if need + READER_CPUS > room:
        raise ConfigError(
            f"train.workers: {fewest} worker(s) need {need:g} CPUs and a reader {READER_CPUS} beside them, the cluster "
            f"has {room:g}; CPUs are logical: start Ray with a larger --num-cpus, or train with fewer workers"
        )


def starving(config: TrainConfig, world: int) -> str | None:
    """A warning where no CPU is left for a reader: Ray's elastic policy counts none, and other runs may hold them."""
    import ray

    there, free = ray.cluster_resources().get("CPU", 0), ray.available_resources().get("CPU", 0)
    held = world * config.cpus
    if held + READER_CPUS > there:
        return (
            f"{world} workers hold {held:g} of the cluster's {there:g} CPUs: their readers wait for a node; "
            f"a larger train.cpus leaves them some of each node"
        )
    if free < READER_CPUS:
        return (
            f"all of the cluster's {there:g} CPUs are held, {held:g} by this run: its readers wait for others to end, "
            f"or for a node, for {config.stall_s:g} s (train.stall_s)"
        )
    return None


def note_failure(spec: RunSpec, error: errors.MosarError) -> None:
    """From a worker: this cannot be mended by trying again."""
    note = {"submission": spec.submission, "kind": type(error).__name__, "message": str(error)}
    storage.write_json(storage.join(spec.location, _FAILURE), note)


def keep_traceback(spec: RunSpec, text: str) -> str:
    """Keep a traceback in the run's folder; words that say where."""
    where = storage.join(spec.location, _TRACEBACK)
    storage.write_bytes(where, text.encode())
    return f"traceback in {where}"


def failed(spec: RunSpec) -> dict[str, str] | None:
    """What a worker of this submission noted."""
    where = storage.join(spec.location, _FAILURE)
    note = storage.read_json(where) if storage.exists(where) else {}
    return note if note.get("submission") == spec.submission else None


def _raise_failure(spec: RunSpec) -> None:
    note = failed(spec)
    if note is not None:
        storage.remove(storage.join(spec.location, _FAILURE))
        raise getattr(errors, note["kind"])(note["message"])


def position(location: str) -> int:
    """The step that a run would go on from."""
    return max(checkpoint.steps(location), default=0)


def _reason(error: BaseException) -> str:
    """The last line of the first worker's error: the exception itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
