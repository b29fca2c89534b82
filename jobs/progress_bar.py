"""A bar on stderr for jobs that work through a list."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

Thing = TypeVar("Thing")


def with_bar(things: Sequence[Thing], what: str) -> Iterable[Thing]:
    """The things, with a bar on stderr that shows the time left if that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(things, what, console=console, disable=not console.is_terminal)
