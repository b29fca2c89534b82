"""What a training run asks of a cluster, and whether the cluster can give it."""

from mosar.errors import ConfigError
from mosar.platform.data.stream import READER_CPUS
from mosar.platform.runs import run
from mosar.platform.training.train_config import TrainConfig


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


def check_capacity(config: TrainConfig, cpus: float) -> None:
    """Raises ConfigError where a run's workers would leave no CPU for a reader, and so wait for ever."""
    fewest = config.min_workers or config.workers
    need = fewest * config.cpus
    if need + READER_CPUS > cpus:
        raise ConfigError(
            f"train.workers: {fewest} worker(s) need {need:g} CPUs and a reader {READER_CPUS} beside them, the cluster "
            f"has {cpus:g}; CPUs are logical: start Ray with a larger --num-cpus, or train with fewer workers"
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
