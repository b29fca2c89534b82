"""A Ray head without its dashboard's process: ``python -m mosar.platform.cluster.without_dashboard start --head ...``.

Ray starts that process even if no dashboard is wanted, for its reports of use. There it asks the metadata services of
three clouds where it runs, and reports that reports are switched off, before it heeds that they are.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

NO_REPORT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/"}
"""Environment of a head with a dashboard: the report that reports are off goes nowhere (port 9 is *discard*)."""


@contextlib.contextmanager
def without_dashboard() -> Iterator[None]:
    """A head that starts in this block starts no such process; Ray has no public way to ask for that."""
    from ray._private.node import Node

    before = Node.start_api_server

    def none(node: Any, *, include_dashboard: bool | None, raise_on_failure: bool) -> None:
        node._webui_url = None

    Node.start_api_server = none
    try:
        yield
    finally:
        Node.start_api_server = before


if __name__ == "__main__":
    from ray.scripts.scripts import main

    with without_dashboard():
        main()
