"""One driver per run: it holds a named actor in the cluster, whose name is free again when the driver ends."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from mosar.errors import ConfigError, UnheardError
from mosar.platform.storage import digest

_PATIENCE_S = 30.0
"""Ray needs some time to notice that a driver was killed."""
_NAMESPACE = "mosar"
_KEPT: list[Any] = []
"""Handles kept until this process ends: Ray ends an actor when its last handle is released."""


class _Holder:
    """An actor that holds the name and does nothing."""


@contextlib.contextmanager
def held(location: str, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold the run at ``location`` on the connected cluster until the block ends, or this driver ends in any way.

    Raises:
        ConfigError: another driver on this cluster still holds it after ``patience_s``.
    """
    import ray

    name = f"run-{digest.of_bytes(location.encode())[:32]}"
    # If its node is lost, the actor restarts elsewhere, so that the driver keeps the name.
    options = {"name": name, "namespace": _NAMESPACE, "num_cpus": 0, "max_restarts": -1}
    until = time.monotonic() + patience_s
    while True:
        try:
            holder = ray.remote(_Holder).options(**options).remote()
            break
        except ValueError as error:  # the name is taken
            if time.monotonic() > until:
                raise ConfigError(
                    f"{location}: another driver trains this run on the cluster; wait for it or stop it (ray job stop)"
                ) from error
            time.sleep(0.25)
    try:
        yield
    except UnheardError:  # Workers of this driver may still start, so the run stays held until the driver ends.
        _KEPT.append(holder)
        raise
    except BaseException:
        ray.kill(holder)
        raise
    ray.kill(holder)
