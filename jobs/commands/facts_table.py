"""Facts as lines of text: a name and its value each."""

import textwrap
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

_NAMES, _WIDTH = 14, 118


def lines(facts: Mapping[str, str]) -> str:
    """A line per fact, long values wrapped below each other; facts without a value are left out."""
    indent = " " * _NAMES
    return "\n".join(
        textwrap.fill(value, _WIDTH, initial_indent=f"{name:<{_NAMES}}", subsequent_indent=indent)
        for name, value in facts.items()
        if value
    )


def size(count: int) -> str:
    """A number of bytes in a unit that suits it."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def date(path: Path) -> str:
    """When a file was last written, in local time."""
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone().strftime("%Y-%m-%d %H:%M")
