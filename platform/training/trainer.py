"""Training a stage: checks, then a Ray Train run whose workers execute :func:`mosar.platform.training.worker.work`."""

import functools
import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mosar.config import to_mapping
from mosar.errors import ConfigError, RunError, StoppedError, UnheardError
from mosar.platform import cluster, storage
from mosar.platform.data import stream
from mosar.platform.data.manifest import open_manifest
from mosar.platform.data.stream import READER_CPUS, Decode, Source
from mosar.platform.runs import checkpoint, run, run_lock
from mosar.platform.training import failure, graceful_stop, resources
from mosar.platform.training.run_spec import RunSpec
from mosar.platform.training.stage import Stage, StreamSpec
from mosar.platform.training.train_config import WITHOUT_EFFECT, TrainConfig

if TYPE_CHECKING:
    from torch import nn

Decoder = Callable[[StreamSpec, bool], Decode]
"""(stream specification of a stage, whether to augment) -> decoder of its samples; must be picklable."""

_FREE = tuple(f"train.{name}" for name in WITHOUT_EFFECT)


def prepare(
    location: str,
    stage: Stage,
    build: Callable[[], "tuple[Stage, nn.Module]"],
    data: Mapping[str, str],
    decoder: Decoder,
    config: TrainConfig,
    fingerprint: Mapping[str, Any],
    start: "Callable[[nn.Module], None] | None" = None,
) -> RunSpec:
    """Check everything that can be checked before the run starts. Writes nothing.

    Args:
        location: the run's folder.
        data: stream name -> location of its data set.
        fingerprint: JSON-ready; what else decides the result (model, parents); ``train`` and ``data`` are added.
        start: fills a new run's module with trained weights; must be picklable.

    Raises:
        ConfigError: a stream has no data, the batch cannot be cut into equal slices, or the run has another
            configuration.
        DataError: a data set is missing or lacks a split.
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
    full = {**fingerprint, "stage": stage.name, "train": to_mapping(config) | {"slices": config.cut}, "data": digests}
    run.check(location, full, _FREE)
    return RunSpec(location, build, training, validation, config, uuid.uuid4().hex, full, start)


def fit(spec: RunSpec, asked: threading.Event | None = None) -> dict[str, Any]:
    """Train to the end on the connected cluster, from the newest checkpoint if there is one. Returns the summary.

    Once ``asked`` is set (see :func:`~mosar.platform.training.graceful_stop.on_signals`) the run saves a checkpoint and
    stops.

    Raises:
        StoppedError: the run was asked to stop.
        DataError, ConfigError: a worker cannot use its data or configuration.
        RunError: workers failed more often than ``config.retries``, or in a way that a retry cannot mend.
    """
    finished = run.summary(spec.location)
    if finished is not None:
        return finished
    asked = asked or threading.Event()
    if asked.is_set():
        raise StoppedError(f"{spec.location}: not started; the same command starts it")
    set_environment([spec.config])
    from ray.exceptions import ActorDiedError
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.exceptions import TrainingFailedError

    from mosar.platform.training.torch_trainer import StreamTrainer, TorchGroup
    from mosar.platform.training.worker import work

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    config = spec.config
    fewest = config.min_workers or config.workers
    cpus = cluster.capacity()
    resources.check_capacity(config, cpus)
    if not cluster.growth():
        resources.check_node(config, cluster.node_cpus())
    most = max(fewest, min(config.workers, int((cpus - READER_CPUS) / config.cpus)))
    if most < config.workers:
        print(
            f"{spec.location}: trains with at most {most} of {config.workers} workers: the cluster has {cpus:g} "
            f"CPUs; if it can grow, set {cluster.CAPACITY} to its full size",
            file=sys.stderr,
        )
    gpus = resources.on_gpus(config, cluster.capacity("GPU"))
    resources.check_device(spec.location, gpus)
    scaling = ScalingConfig(
        num_workers=most if fewest == most else (fewest, most),
        use_gpu=gpus,
        resources_per_worker={"CPU": config.cpus, **({"GPU": 1} if gpus else {})},
        elastic_resize_monitor_interval_s=config.resize_s,
    )
    run_config = RunConfig(
        name=spec.submission,
        storage_path=storage.join(spec.location, "ray"),
        failure_config=FailureConfig(max_failures=config.retries),
    )

    def train() -> None:
        told = {"spec": spec}
        StreamTrainer(
            work, train_loop_config=told, backend_config=TorchGroup(), scaling_config=scaling, run_config=run_config
        ).fit()

    ended = threading.Event()
    watched = threading.Thread(target=resources.watch_room, args=(config, gpus, spec.location, ended), daemon=True)
    with run_lock.held(spec.location):
        # Check again: the driver that held the run until now may have begun it with another configuration.
        run.begin(spec.location, spec.fingerprint, _FREE)
        try:
            resources.wait_for_room(config, gpus, spec.location, asked)
            watched.start()
            begin = functools.partial(failure.begin, train, spec.location, config.retries)
            graceful_stop.call(begin, asked, spec.location, spec.submission)
        except (TrainingFailedError, ActorDiedError) as error:
            failure.raise_failure(spec)
            where = failure.keep_traceback(spec, str(error))
            raise RunError(f"{spec.location}: training stopped: {_reason(error)} ({where})") from error
        finally:
            ended.set()
            if watched.is_alive():
                watched.join()
            if not isinstance(sys.exception(), UnheardError):
                storage.remove(storage.join(spec.location, "ray"))
    failure.raise_failure(spec)
    finished = run.summary(spec.location)
    if finished is None and asked.is_set():
        at = f"step {position(spec.location)} of {spec.config.steps}"
        raise StoppedError(f"{spec.location}: saved at {at}; the same command continues from there")
    if finished is None:
        raise RunError(f"{spec.location}: training ended without a result")
    return finished


def set_environment(configs: Sequence[TrainConfig]) -> None:
    """Set Ray Train's environment variables, which all runs of this process share; keeps values that are set.

    Call it with all configurations before the first of several parallel runs starts; :func:`fit` does it for one run.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S", str(max(config.stall_s for config in configs)))
    # Elastic runs keep Ray's shorter timeout, after which Ray tries another number of workers.
    if not any(config.elastic for config in configs):
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    if cluster.starts_own():  # Its only node is never taken away.
        os.environ.setdefault(graceful_stop.WATCHER, "0")


def position(location: str) -> int:
    """The step of the newest checkpoint, valid or not; 0 if there is none."""
    return max(checkpoint.steps(location), default=0)


def _reason(error: BaseException) -> str:
    """The last line of the first worker's error: the exception itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
