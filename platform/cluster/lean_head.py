"""A Ray head without processes that nobody uses here: ``python -m mosar.platform.cluster.lean_head start --head ...``.

Ray has no public way to leave them out:

- The dashboard's process runs even if no dashboard is wanted, for Ray's reports of use. There it asks the metadata
  services of three clouds where it runs, and reports that reports are switched off, before it heeds that they are.
- A server waits for clients from outside the cluster (Ray Client).
- A process reads the logs of all workers for drivers that print them; ours do only with ``MOSAR_RAY_LOGS``.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

NO_REPORT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/"}
"""Environment of a head with a dashboard: the report that reports are off goes nowhere (port 9 is *discard*)."""

LOGS = "MOSAR_RAY_LOGS"
"""Environment variable: if it is set, drivers print the logs of their workers."""


@contextlib.contextmanager
def lean_head(dashboard: bool = False) -> Iterator[None]:
    """A head that starts in this block starts no such process; with ``dashboard``, it starts its dashboard."""
    from ray._private.node import Node

    def none(node: Any, **_: Any) -> None:
        node._webui_url = None

    left_out = {"start_ray_client_server": lambda node: None}
    if not dashboard:
        left_out["start_api_server"] = none
    if not os.environ.get(LOGS):
        left_out["start_log_monitor"] = lambda node: None
    before = {name: getattr(Node, name) for name in left_out}
    for name, function in left_out.items():
        setattr(Node, name, function)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(Node, name, function)


if __name__ == "__main__":
    from ray.scripts.scripts import main

    with lean_head("--include-dashboard=True" in sys.argv):
        main()
