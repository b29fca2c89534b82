"""Ray clusters: connect to one, start one on this machine, and query its resources."""

from mosar.platform.cluster.capacity import CAPACITY, capacity, cpus, growth, node_cpus
from mosar.platform.cluster.connection import LOGICAL_CPUS, connect, starts_own
from mosar.platform.cluster.core_count import cores
from mosar.platform.cluster.local_cluster import LocalCluster, local_cluster, using
from mosar.platform.cluster.processes import free_ports, living, processes_below

__all__ = [
    "CAPACITY",
    "LOGICAL_CPUS",
    "LocalCluster",
    "capacity",
    "connect",
    "cores",
    "cpus",
    "free_ports",
    "growth",
    "living",
    "local_cluster",
    "node_cpus",
    "processes_below",
    "starts_own",
    "using",
]
