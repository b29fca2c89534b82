"""A table of the photographs that failed."""

import sys
from collections.abc import Mapping
from pathlib import Path


def show(failures: Mapping[Path, str]) -> None:
    """Print each photograph and the reason on stderr."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(failures)} failed", title_justify="left")
    table.add_column("photograph", overflow="fold")
    table.add_column("reason", overflow="fold")
    for path, reason in failures.items():
        table.add_row(Text(str(path)), Text(reason.removeprefix(f"{path}: ")))
    Console(stderr=True, file=sys.stderr).print(table)
