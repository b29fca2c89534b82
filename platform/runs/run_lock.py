"""One driver a run: whoever trains a run holds a name in the cluster, which is free again when that driver ends."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from mosar.errors import ConfigError, UnheardError
from mosar.platform.storage import digest

_PATIENCE_S = 30.0
"""Ray needs a moment to see that a driver was killed."""
_NAMESPACE = "mosar"
_KEPT: list[Any] = []
"""Actors end with the last that knows them."""


class _Holder:
    """Has the name, and does nothing."""


@contextlib.contextmanager
def held(location: str, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold the run at ``location`` on the connected cluster until the block ends, or this driver, however it does.

    Raises:
        ConfigError: another driver on this cluster still holds it after ``patience_s``.
    """
    import ray

    name = f"run-{digest.of_bytes(location.encode())[:32]}"
    # Restarted elsewhere where its node goes: the name is the driver's, not the node's.
    options = {"name": name, "namespace": _NAMESPACE, "num_cpus": 0, "max_restarts": -1}
    until = time.monotonic() + patience_s
    while True:
        try:
            holder = ray.remote(_Holder).options(**options).remote()
            break
        except ValueError as error:  # the name is taken
            if time.monotonic() > until:
                raise ConfigError(
                    f"{location}: another driver trains it on this cluster; wait for it, or stop it (ray job stop)"
                ) from error
            time.sleep(0.25)
    try:
        yield
    except UnheardError:  # The workers that may still come are this driver's, and so is the run until it ends.
        _KEPT.append(holder)
        raise
    except BaseException:
        ray.kill(holder)
        raise
    ray.kill(holder)
