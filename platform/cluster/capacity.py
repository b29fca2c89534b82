"""What the connected cluster holds, and what it can grow to."""

import os

from mosar.errors import ConfigError

CAPACITY = "MOSAR_CAPACITY"
"""Environment variable of the head: what the cluster can grow to."""
_FORMER = "MOSAR_ROOM"


def cpus() -> int:
    """Shards worth making at once on the connected cluster: real cores where it is this machine, else its CPUs."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return os.cpu_count() or 1
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def capacity(resource: str = "CPU") -> float:
    """CPUs, or GPUs, that the connected cluster has, or can grow to by ``MOSAR_CAPACITY``, as in ``CPU=130,GPU=8``.

    Ray does not tell jobs how far its autoscaler may go; so the head's environment does.

    Raises:
        ConfigError: ``MOSAR_CAPACITY`` cannot be read.
    """
    import ray

    return max(float(ray.cluster_resources().get(resource, 0)), growth().get(resource, 0.0))


def growth() -> dict[str, float]:
    """What ``MOSAR_CAPACITY`` says."""
    if _FORMER in os.environ:
        raise ConfigError(f"{_FORMER} is called {CAPACITY} now; set that instead")
    given = os.environ.get(CAPACITY, "")
    try:
        return {name: float(most) for name, most in (pair.split("=") for pair in given.split(",") if pair)}
    except ValueError as error:
        raise ConfigError(
            f"{CAPACITY}: got {given!r}, expected what the cluster can grow to, as CPU=130,GPU=8"
        ) from error
