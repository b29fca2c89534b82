"""One driver per run: it holds a placement group whose name is free again when the driver ends."""

import contextlib
import time
from collections.abc import Iterator

from mosar.errors import ConfigError, UnheardError
from mosar.platform.storage import digest

_PATIENCE_S = 30.0
"""Ray needs some time to notice that a driver was killed."""
_SHARE = {"node:__internal_head__": 0.0001}
"""What a group holds, since it cannot be empty: the least possible share of a resource that every head node has."""


@contextlib.contextmanager
def held(location: str, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold the run at ``location`` on the connected cluster until the block ends, or this driver ends in any way.

    Names are unique among the drivers of one Ray namespace, as those of :func:`mosar.platform.cluster.connect` are. An
    actor's name would do as well, but an actor is a process.

    Raises:
        ConfigError: another driver on this cluster still holds it after ``patience_s``.
    """
    from ray.exceptions import RaySystemError
    from ray.util.placement_group import placement_group, remove_placement_group

    name = f"run-{digest.of_bytes(location.encode())[:32]}"
    until = time.monotonic() + patience_s
    while True:
        try:
            if not _taken(name):  # Ray prints a line about each name that it refuses.
                group = placement_group([_SHARE], name=name)
                break
        except RaySystemError as error:
            if "already exists" not in str(error):
                raise
        if time.monotonic() > until:
            raise ConfigError(
                f"{location}: another driver trains this run on the cluster; wait for it or stop it (ray job stop)"
            )
        time.sleep(0.25)
    kept = False
    try:
        yield
    except UnheardError:  # Workers of this driver may still start, so the run stays held until the driver ends.
        kept = True
        raise
    finally:
        if not kept:
            remove_placement_group(group)


def _taken(name: str) -> bool:
    from ray.util.placement_group import get_placement_group

    with contextlib.suppress(ValueError):
        get_placement_group(name)
        return True
    return False
