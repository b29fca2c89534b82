"""Run named tasks that depend on one another, in parallel as far as capacity allows."""

import graphlib
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor

from mosar.errors import ConfigError, StoppedError

Report = Callable[[str, str], None]
"""Called with a name and its new state: waiting, training, done, failed, skipped or stopped."""

_NO_MORE = {"failed", "skipped", "stopped"}


def check(requires: Mapping[str, Collection[str]]) -> None:
    """Raises ConfigError if a name requires an unknown name, or requires itself through a cycle."""
    for name, wanted in requires.items():
        missing = sorted(set(wanted) - set(requires))
        if missing:
            raise ConfigError(f"stages: {name!r} requires {missing[0]!r}, which is not among them")
    try:
        graphlib.TopologicalSorter(requires).prepare()
    except graphlib.CycleError as error:
        raise ConfigError(f"stages: {', '.join(sorted(set(error.args[1])))} require one another in a cycle") from error


def run(
    requires: Mapping[str, Collection[str]],
    work: Callable[[str], object],
    size: Mapping[str, Mapping[str, float]],
    capacity: Mapping[str, float],
    report: Report,
) -> dict[str, Exception]:
    """Call ``work(name)`` for each name, in threads, once everything it requires is done. Returns errors by name.

    If a name fails, only the names that require it are skipped. If ``work`` raises StoppedError, the name and all that
    require it are stopped. The total ``size`` (resources that each name holds) of all running names stays within
    ``capacity``, except that a single name always runs.
    """
    check(requires)
    failed: dict[str, Exception] = {}
    running: dict[str, Mapping[str, float]] = {}
    state = dict.fromkeys(requires, "waiting")
    changed = threading.Condition()

    def ready(name: str) -> bool:
        if any(state[parent] in _NO_MORE for parent in requires[name]):
            return True
        held = {what: sum(one.get(what, 0.0) for one in running.values()) for what in size[name]}
        fits = all(held[what] + more <= capacity.get(what, 0.0) for what, more in size[name].items())
        return (fits or not running) and all(state[parent] == "done" for parent in requires[name])

    def set_state(name: str, now: str) -> None:
        state[name] = now
        report(name, now)
        changed.notify_all()

    def one(name: str) -> None:
        with changed:
            changed.wait_for(lambda: ready(name))
            if any(state[parent] != "done" for parent in requires[name]):
                stopped = any(state[parent] == "stopped" for parent in requires[name])
                set_state(name, "stopped" if stopped else "skipped")
                return
            running[name] = size[name]
            set_state(name, "training")
        outcome = "failed"
        try:
            work(name)
            outcome = "done"
        except StoppedError:
            outcome = "stopped"
        except Exception as error:
            failed[name] = error
        finally:
            with changed:
                del running[name]
                set_state(name, outcome)

    with ThreadPoolExecutor(max_workers=len(requires)) as pool:
        list(pool.map(one, requires))
    return failed
