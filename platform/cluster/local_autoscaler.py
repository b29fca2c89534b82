"""A local twin of the shipped cluster: the same node types, started on demand as processes of this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosar.errors import ConfigError

_EMPTY_LISTS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
)
HEAD = "ray.head.default"
"""Name that Ray's fake provider requires for the head's node type."""


def load(path: Path) -> dict[str, Any]:
    """A cluster file with Ray's defaults filled in, checked against Ray's own schema.

    Raises:
        ConfigError: the file does not fit the schema.
    """
    import jsonschema  # type: ignore[import-untyped]
    import yaml  # type: ignore[import-untyped]
    from ray.autoscaler._private.util import fillout_defaults, prepare_config, validate_config

    config = yaml.safe_load(path.read_text())
    try:
        prepared: dict[str, Any] = prepare_config(fillout_defaults(config))
        validate_config(prepared)
    except (jsonschema.ValidationError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return prepared


def capacity(config: Mapping[str, Any]) -> dict[str, float]:
    """Resource -> its amount in the cluster with all nodes: the maximum of each type, within the limit over all types.

    It is an upper bound if the limit over all types is lower than the sum of the types' limits.
    """
    head = config["head_node_type"]
    found: dict[str, float] = {}
    for name, kind in config["available_node_types"].items():
        nodes = 1 if name == head else min(kind["max_workers"], config["max_workers"])
        for resource, amount in kind["resources"].items():
            found[resource] = found.get(resource, 0.0) + nodes * amount
    return found


def make(shipped: Mapping[str, Any], gcs_address: str, idle_timeout_minutes: float) -> dict[str, Any]:
    """The twin's autoscaling configuration: the node types and limits of the shipped cluster; the rest is local."""
    types = {name: dict(node_type) for name, node_type in shipped["available_node_types"].items()}
    head = types.pop(shipped["head_node_type"])
    kinds = {HEAD: head, **types}
    twin: dict[str, Any] = {
        "cluster_name": f"{shipped['cluster_name']}-twin",
        "max_workers": shipped["max_workers"],
        "upscaling_speed": shipped["upscaling_speed"],
        "idle_timeout_minutes": idle_timeout_minutes,
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": gcs_address,
        },
        "available_node_types": {
            name: {
                "resources": kind["resources"],
                "min_workers": kind["min_workers"],
                "max_workers": kind["max_workers"],
                "node_config": {},
            }
            for name, kind in kinds.items()
        },
        "head_node_type": HEAD,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    }
    return twin | {name: [] for name in _EMPTY_LISTS}
