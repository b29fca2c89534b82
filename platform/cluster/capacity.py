"""Resources of the connected cluster, and the size to which it can grow."""

import os

from mosar.errors import ConfigError
from mosar.platform.cluster.core_count import cores

CAPACITY = "MOSAR_CAPACITY"
"""Environment variable of the head node: the resources to which the cluster can grow."""


def cpus() -> int:
    """Tasks to run at once: the cores of this process if the cluster has one node, else the cluster's CPUs."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return cores()
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def node_cpus() -> list[float]:
    """CPUs of each living node of the connected cluster."""
    import ray

    return [float(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def capacity(resource: str = "CPU") -> float:
    """CPUs (or GPUs) that the connected cluster has or can grow to.

    Ray does not tell jobs the limits of its autoscaler, so ``MOSAR_CAPACITY`` (such as ``CPU=130,GPU=8``) in the head's
    environment does.

    Raises:
        ConfigError: ``MOSAR_CAPACITY`` cannot be parsed.
    """
    import ray

    return max(float(ray.cluster_resources().get(resource, 0)), growth().get(resource, 0.0))


def growth() -> dict[str, float]:
    """The resources in ``MOSAR_CAPACITY``; empty if it is not set."""
    given = os.environ.get(CAPACITY, "")
    try:
        return {name: float(most) for name, most in (pair.split("=") for pair in given.split(",") if pair)}
    except ValueError as error:
        raise ConfigError(
            f"{CAPACITY}: got {given!r}, expected the resources of the full cluster, such as CPU=130,GPU=8"
        ) from error
