"""Graceful stop: a signal to the driver, a note in the run's folder, a checkpoint at the end of the step.

``ray job stop`` sends SIGTERM to the driver; Ctrl-C sends SIGINT. Rank 0 of each run looks for the note and tells the
other workers between two steps, so that all stop after the same step. A run that is killed earlier loses the steps
since its last checkpoint.

A node that is about to be taken away (Ray calls it draining), such as a spot node with a notice, does not stop a run.
The run saves checkpoints until the node is gone, and Ray Train restarts the workers without it.
"""

import contextlib
import enum
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from types import FrameType
from typing import TypeVar

from mosar.errors import DataError, RunError, UnheardError
from mosar.platform import storage

Result = TypeVar("Result")

WATCHER = "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
"""Environment variable of Ray Train; "0" turns off the check for nodes about to be taken away."""

_NOTE, _HEARD = "stop.json", "heard"
_LOOK_S = 0.25
_HEAR_S = 30.0
"""Workers that train notice the note within this time."""
_ASK_S, _SAVE_S = 1.0, 10.0
"""Time between checks for nodes about to be taken away; between checkpoints once there is one."""
_SAID = b"\nstopping: runs save a checkpoint at the end of their step; a second signal ends this process at once\n"


@contextlib.contextmanager
def on_signals() -> Iterator[threading.Event]:
    """Yield an event that the first SIGTERM or SIGINT sets; the second ends the process. Main thread only."""
    asked = threading.Event()

    def handle(number: int, _: FrameType | None) -> None:
        if asked.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.set()
        os.write(2, _SAID)

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def call(work: Callable[[], Result], asked: threading.Event, location: str, submission: str) -> Result:
    """Run ``work()``, which trains the run at ``location``; once ``asked`` is set, tell its workers to stop.

    ``work`` runs in a thread of its own: in the main thread Ray Train would replace our SIGINT handler.

    Raises:
        UnheardError: no worker noticed, because the run waits for resources or its workers are just starting. The note
            stays for workers that may still start.
        RunError: the workers could not be told.
    """
    result: Future[Result] = Future()
    note, told, heard = storage.join(location, _NOTE), 0.0, False
    storage.remove(note)

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        while not wait([result], _LOOK_S).done:
            if asked.is_set() and not told:
                storage.write_json(note, {"submission": submission})
                told = time.monotonic()
            elif told and not heard:
                with contextlib.suppress(OSError, DataError):  # read again at the next look
                    heard = _HEARD in storage.read_json(note)
                if not heard and time.monotonic() > told + _HEAR_S:
                    raise UnheardError(f"{location}: no worker trained it; the same command continues it")
    except OSError as error:
        raise RunError(f"{location}: cannot be told to stop ({error}); the run ends without a checkpoint") from error
    storage.remove(note)
    return result.result()


class Wish(enum.IntEnum):
    """What a run does at the end of a step; ``ASK`` means to ask Ray Train first."""

    CONTINUE = 0
    SAVE = 1
    STOP = 2
    ASK = 3


class Listener:
    """Tells the workers of a run whether to stop or save. Every worker makes one and asks it at the end of each step.

    Workers agree on the answer through gloo, from host to host, so that they need not synchronise their devices.
    """

    def __init__(self, location: str, submission: str, rank: int, world: int) -> None:
        import torch

        self._note, self._submission = storage.join(location, _NOTE), submission
        self._heard, self._done = threading.Event(), threading.Event()
        self._group = torch.distributed.new_group(backend="gloo") if world > 1 else None
        self._ask_at = time.monotonic() if os.environ.get(WATCHER) != "0" else float("inf")
        if rank == 0:
            self._look()
            threading.Thread(target=self._follow, daemon=True).start()

    def wish(self) -> Wish:
        """What to do now: ``CONTINUE``, ``SAVE`` or ``STOP``, the same on every worker."""
        import torch

        wish = Wish.CONTINUE
        if self._heard.is_set():
            wish = Wish.STOP
        elif time.monotonic() >= self._ask_at:
            wish = Wish.ASK
        if self._group is not None:
            told = torch.tensor([wish], dtype=torch.uint8)
            torch.distributed.broadcast(told, src=0, group=self._group)
            wish = Wish(int(told))
        return self._ask() if wish is Wish.ASK else wish

    def _ask(self) -> Wish:
        """Ask Ray Train, on all workers together, so that all get the same answer."""
        import ray.train

        leaving = ray.train.get_preemption_info() is not None
        self._ask_at = time.monotonic() + (_SAVE_S if leaving else _ASK_S)
        return Wish.SAVE if leaving else Wish.CONTINUE

    def close(self) -> None:
        self._done.set()

    def _follow(self) -> None:
        while not self._heard.is_set() and not self._done.wait(_LOOK_S):
            with contextlib.suppress(Exception):  # the storage may answer at the next look
                self._look()

    def _look(self) -> None:
        if storage.exists(self._note) and (note := storage.read_json(self._note))["submission"] == self._submission:
            self._heard.set()
            with contextlib.suppress(OSError):  # stop even if the note cannot be answered
                storage.write_json(self._note, {**note, _HEARD: True})
