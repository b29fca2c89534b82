"""Make avatars of many photographs: one after the other, or several at once in processes of their own."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from mosar.errors import RunError
from mosar.jobs.commands.photograph_files import PhotographFile

if TYPE_CHECKING:
    from mosar import Reconstructor
    from mosar.models.reconstruct.pipeline import Progress

Task = tuple[PhotographFile, dict[str, Any]]
"""A photograph, and what its avatar is made from."""


@dataclass(frozen=True)
class Work:
    """What is done with each photograph.

    Attributes:
        location: of the bundle.
        options: further arguments of :func:`mosar.load`.
        face: which of several faces.
        targets: morph targets of the GLB.
    """

    location: str
    options: Mapping[str, Any]
    face: str | int
    targets: str

    def load(self) -> "Reconstructor":
        import mosar

        return mosar.load(self.location, **self.options)

    def make(self, reconstructor: "Reconstructor", task: Task, progress: "Progress | None" = None) -> tuple[str, ...]:
        """Make and save the avatar of a photograph; return what a user should know of it."""
        file, made_from = task
        avatar = reconstructor(file.path, self.face, progress)  # type: ignore[arg-type]
        replace(avatar, made_from=made_from).save(file.avatar, self.targets)  # type: ignore[arg-type]
        return avatar.remarks


@dataclass(frozen=True)
class Outcome:
    """What became of a photograph: remarks on its avatar, or the error that left it without one."""

    file: PhotographFile
    remarks: tuple[str, ...] = ()
    error: Exception | None = None


def one_by_one(
    work: Work, tasks: Sequence[Task], announce: Callable[[int, PhotographFile], None]
) -> Generator[Outcome, None, None]:
    """Outcomes in order; ``announce`` is told number (from 1) and file of each photograph that begins."""
    with work.load() as reconstructor:
        for number, task in enumerate(tasks, start=1):
            announce(number, task[0])
            try:
                outcome = Outcome(task[0], work.make(reconstructor, task))
            except Exception as error:
                outcome = Outcome(task[0], error=error)
            yield outcome


@contextlib.contextmanager
def at_once(work: Work, tasks: Sequence[Task], workers: int) -> Iterator[Iterator[Outcome]]:
    """Outcomes as they come, from so many processes, each with a bundle of its own.

    Enter it before anything that starts threads, such as a progress bar, because processes may be forked. Where its
    block ends early, the processes are ended at once: each avatar is then whole or not there.

    Raises:
        RunError: from the iterator; a process died.
    """
    context = multiprocessing.get_context(start_method())
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, initializer=_begin, initargs=(work, os.getpid()))
    try:
        with _later_interrupts():
            files = {pool.submit(_make_here, task): task[0] for task in tasks}
        yield _outcomes(files)
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _outcomes(files: "Mapping[Future[tuple[str, ...]], PhotographFile]") -> Iterator[Outcome]:
    for done in as_completed(files):
        error = done.exception()
        if isinstance(error, BrokenProcessPool):
            raise RunError("a worker process died, most likely because memory ran out; use fewer --workers")
        if error is None:
            yield Outcome(files[done], done.result())
        elif isinstance(error, Exception):
            yield Outcome(files[done], error=error)
        else:
            raise error


@contextlib.contextmanager
def _later_interrupts() -> Iterator[None]:
    """Ctrl-C waits until the block has ended: processes that begin in it would tell of it with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_method() -> Literal["fork", "spawn"]:
    """``fork`` after importing the libraries once for all processes; ``spawn`` where threads of theirs may run already.

    Threads are lost in a fork, and torch and numba would wait for them for ever. Importing starts none of theirs, only
    those of OpenBLAS, which stops them before a fork and starts them again when they are needed.
    """
    if sys.platform != "linux" or "torch" in sys.modules:
        return "spawn"
    import mosar.avatar
    import mosar.reconstructor  # noqa: F401

    return "fork"


_work: Work
_reconstructor: "Reconstructor | Exception"


def _begin(work: Work, parent: int) -> None:
    """Load the bundle in a new process, which leaves Ctrl-C to its parent and ends with it."""
    global _work, _reconstructor  # noqa: PLW0603
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _work = work
    try:
        _reconstructor = work.load()
    except Exception as error:  # told with each photograph; raised here it would be lost
        _reconstructor = error


def _make_here(task: Task) -> tuple[str, ...]:
    if isinstance(_reconstructor, Exception):
        raise _reconstructor
    return _work.make(_reconstructor, task)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
