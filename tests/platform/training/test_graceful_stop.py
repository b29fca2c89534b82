"""A driver's request to stop reaches its workers, or times out if there are none."""

import threading
from pathlib import Path

import pytest

from mosar.errors import StoppedError
from mosar.platform.training import graceful_stop
from mosar.platform.training.graceful_stop import Listener, Wish


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    monkeypatch.setattr(graceful_stop, "_HEAR_S", 1.0)
    monkeypatch.setenv(graceful_stop.WATCHER, "0")
    event = threading.Event()
    event.set()
    return event


def test_the_driver_leaves_a_run_that_no_worker_trains(tmp_path: Path, asked: threading.Event) -> None:
    never = threading.Event()
    with pytest.raises(StoppedError, match="no worker trained it; the same command continues it"):
        graceful_stop.call(never.wait, asked, str(tmp_path), "first")
    late = Listener(str(tmp_path), "first", 0, 1)  # a worker that starts later stops after its first step
    assert late.wish() is Wish.STOP
    late.close()
    other = Listener(str(tmp_path), "second", 0, 1)
    assert other.wish() is Wish.CONTINUE
    other.close()
    never.set()


def test_the_driver_waits_for_workers_that_noticed_the_request(tmp_path: Path, asked: threading.Event) -> None:
    saved = threading.Event()
    threading.Timer(3.0, saved.set).start()

    def train() -> bool:
        listener = Listener(str(tmp_path), "first", 0, 1)
        while listener.wish() is not Wish.STOP:
            saved.wait(0.05)
        return saved.wait(30.0)

    assert graceful_stop.call(train, asked, str(tmp_path), "first")
    assert not (tmp_path / "stop.json").exists()
