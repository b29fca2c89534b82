import threading

import pytest

from mosar.errors import ConfigError, StoppedError
from mosar.platform.training import dag

REQUIRES = {"child": ("parent",), "parent": (), "other": (), "grandchild": ("child", "other")}


def run(
    fails: str = "", capacity: float = 10.0, error: type[Exception] = RuntimeError
) -> tuple[dict[str, str], list[str], dict[str, Exception], float]:
    states = dict.fromkeys(REQUIRES, "")
    begun: list[str] = []
    running, most, lock = 0, 0, threading.Lock()

    def work(name: str) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            begun.append(name)
        if name == fails:
            with lock:
                running -= 1
            raise error(name)
        with lock:
            running -= 1

    failed = dag.run(
        REQUIRES,
        work,
        {name: {"CPU": 1.0} for name in REQUIRES},
        {"CPU": capacity},
        lambda name, state: states.update({name: state}),
    )
    return states, begun, failed, most


def test_parents_come_first() -> None:
    states, begun, failed, _ = run()
    assert set(states.values()) == {"done"}
    assert begun.index("parent") < begun.index("child") < begun.index("grandchild") == 3
    assert failed == {}


def test_a_failure_skips_only_its_descendants() -> None:
    states, begun, failed, _ = run(fails="parent")
    assert states == {"parent": "failed", "child": "skipped", "grandchild": "skipped", "other": "done"}
    assert sorted(begun) == ["other", "parent"]
    assert str(failed["parent"]) == "parent"


def test_a_stop_is_no_failure_and_also_stops_descendants() -> None:
    states, _, failed, _ = run(fails="parent", error=StoppedError)
    assert states == {"parent": "stopped", "child": "stopped", "grandchild": "stopped", "other": "done"}
    assert failed == {}


def test_running_names_stay_within_capacity_but_one_always_runs() -> None:
    assert run(capacity=1.0)[3] == 1
    assert run(capacity=0.1)[3] == 1


def test_every_resource_counts_and_a_name_that_does_not_fit_waits() -> None:
    size = {"first": {"CPU": 1.0, "GPU": 1.0}, "second": {"CPU": 1.0, "GPU": 1.0}, "third": {"CPU": 1.0}}
    states = dict.fromkeys(size, "waiting")
    beside: list[str] = []
    third = threading.Event()

    def work(name: str) -> None:
        if name == "third":
            third.set()
            return
        assert third.wait(30), "the work without a GPU waited for a GPU"
        (other,) = {"first", "second"} - {name}
        beside.append(states[other])

    failed = dag.run(
        dict.fromkeys(size, ()), work, size, {"CPU": 8.0, "GPU": 1.0}, lambda name, now: states.update({name: now})
    )
    assert failed == {}
    assert beside == ["waiting", "done"]


def test_impossible_graphs_are_refused() -> None:
    with pytest.raises(ConfigError, match="'a' requires 'b', which is not among them"):
        dag.check({"a": ("b",)})
    with pytest.raises(ConfigError, match="a, b require one another"):
        dag.check({"a": ("b",), "b": ("a",), "c": ()})
