"""Connect this process to a Ray cluster: the one at ``RAY_ADDRESS``, or a new one on this machine."""

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from mosar.platform.cluster.lean_head import LOGS, lean_head
from mosar.platform.cluster.temporary import ray_folder

LOGICAL_CPUS = 16
"""CPUs of a cluster on this machine, not tied to its cores: workers that held every CPU would starve readers."""

NAMESPACE = "mosar"
"""Ray's namespace of all drivers: names, as of the locks of runs, are unique in it."""

ADDRESS, MODE, TOKEN = "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
_THIS_MACHINE = ("127.0.0.1", "localhost")
LOOPBACK = {
    # If this is off, Ray uses 127.0.0.1 as the node's address and binds every port to it. If it is on, which is the
    # default on Linux, Ray replaces 127.0.0.1 by an external address even if 127.0.0.1 was requested.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # There is no other node to drain to.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}

_QUIET = {
    # A cluster on this machine has more processes than cores: controllers and readers mostly wait. Ray prints a warning
    # for every further pair of them (docs/runs.md). Only this message is left out.
    "RAY_DEDUP_LOGS_SKIP_REGEX": r"PYTHON worker processes have been started on node",
}


@contextlib.contextmanager
def connect(logical_cpus: int = LOGICAL_CPUS) -> Iterator[None]:
    """Connect to the cluster at ``RAY_ADDRESS`` (set in a submitted job), else to a new one on this machine's loopback.

    A new cluster requires a token. It ends with the block, or with this process, however that ends.
    """
    given = os.environ.get(ADDRESS)
    for name, value in _QUIET.items():  # Ray reads it once, when it is imported.
        os.environ.setdefault(name, value)
    with changed_environment(unproxied() | ({} if given else credentials() | LOOPBACK)):
        import ray

        options: dict[str, Any] = {"log_to_driver": bool(os.environ.get(LOGS)), "namespace": NAMESPACE}
        with contextlib.ExitStack() as stack:
            if not given:
                folder = stack.enter_context(ray_folder())
                options |= {"num_cpus": logical_cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
                options |= {"_temp_dir": str(folder)}
            with contextlib.nullcontext() if given else lean_head():
                ray.init(address=given or "local", configure_logging=True, logging_level="ERROR", **options)
            stack.callback(ray.shutdown)
            yield


def starts_own() -> bool:
    """Whether :func:`connect` starts a cluster of its own."""
    return not os.environ.get(ADDRESS)


def unproxied() -> dict[str, str]:
    """Settings with which requests to this machine, of child processes too, pass by a proxy (``http_proxy``)."""
    found = {}
    for name in ("no_proxy", "NO_PROXY"):
        before = os.environ.get(name, "")
        missing = [host for host in _THIS_MACHINE if host not in before.split(",")]
        found[name] = ",".join(filter(None, [before, *missing]))
    return found


def credentials() -> dict[str, str]:
    if os.environ.get(MODE) == "token" and os.environ.get(TOKEN):
        return {MODE: "token", TOKEN: os.environ[TOKEN]}
    return {MODE: "token", TOKEN: secrets.token_hex(32)}


@contextlib.contextmanager
def changed_environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change this process's environment within the block, also for a Ray that is already imported."""
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    _reload_ray_settings()
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        _reload_ray_settings()


def _reload_ray_settings() -> None:
    """Ray reads these settings once, on import; it offers no public way to read them again."""
    if "ray" in sys.modules:
        from ray._private import ray_constants
        from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
        from ray._raylet import Config as RayConfig  # type: ignore[attr-defined]

        RayConfig.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
        ray_constants.ENABLE_RAY_CLUSTER = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") != "0"
