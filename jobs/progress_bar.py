"""A bar on stderr for jobs that work through a list."""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

Thing = TypeVar("Thing")
_HOUR_S = 3600.0


def is_shown() -> bool:
    """Whether :func:`with_bar` shows its bar: stderr is a terminal."""
    from rich.console import Console

    return Console(stderr=True).is_terminal


def with_bar(
    things: Iterable[Thing], what: str, shown: bool | None = None, count: int | None = None
) -> Generator[Thing, None, None]:
    """The things, with a bar on stderr that shows count, rate and time left; by default if that is a terminal.

    ``count``: number of the things, if they have no length.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")
    bar = Progress(
        *columns,
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(stderr=True),
        disable=not (is_shown() if shown is None else shown),
        speed_estimate_period=_HOUR_S,  # things may take minutes
        redirect_stdout=sys.stdout.isatty(),  # else what is printed would go to stderr
    )
    with bar:
        task = bar.add_task(what, total=len(things) if isinstance(things, Sized) else count, rate="")
        for number, thing in enumerate(things, start=1):
            yield thing
            elapsed = bar.tasks[0].elapsed
            bar.update(task, completed=number, rate=_rate(number / elapsed) if elapsed else "")


@contextmanager
def step_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for the named steps of one piece of work, if stderr is a terminal.

    It yields a function that is told the step that begins, how many are done, and how many there are.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=Console(stderr=True), disable=not is_shown(), transient=True)
    with bar:
        task = bar.add_task("", total=None)
        yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)


def _rate(per_second: float) -> str:
    return f"{per_second:.1f} a second" if per_second >= 1.0 else f"{60.0 * per_second:.1f} a minute"
