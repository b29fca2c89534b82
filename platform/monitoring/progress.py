"""A live table of runs, read from their metrics: step, rate, time left, losses. Works without a terminal."""

import contextlib
import math
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from mosar.platform.monitoring.redact import redact
from mosar.platform.runs import run

_POLL_S, _PRINT_S = 1.0, 10.0
_LAST_S = 15.0
"""Time that the followers in ``apart`` get to finish after the block ends."""


@dataclass
class Row:
    """The table's row of one run, read from its metrics."""

    location: str
    steps: int
    state: str = "waiting"
    step: int = 0
    rate: float = 0.0
    loss: float = math.nan
    start: float = math.nan
    held_out: float = math.nan
    warnings: list[str] = field(default_factory=list)
    warned: int = 0

    def __post_init__(self) -> None:
        self._tail = run.Tail(self.location)

    @property
    def left(self) -> str:
        """Time left, as h:mm:ss; empty when nobody can know."""
        rest = (self.steps - self.step) / self.rate if self.rate > 0 and self.state == "training" else None
        return "" if rest is None else str(timedelta(seconds=round(rest)))

    @property
    def of_start(self) -> float:
        """Held-out loss over that of the start."""
        return self.held_out / self.start if self.start else math.nan

    def sentence(self) -> str:
        """State, step, rate, time left and losses, as far as they are known."""
        if self.state == "training" and math.isnan(self.loss):
            return f"starting at step {self.step} of {self.steps}"
        parts = [self.state, f"step {self.step} of {self.steps}"]
        if self.left:
            parts += [f"{self.rate:.2f} steps/s", f"{self.left} left"]
        parts += [] if math.isnan(self.loss) else [f"loss {self.loss:.4g}"]
        if not math.isnan(self.held_out):
            parts.append(f"held-out {self.held_out:.4g} ({_number(self.of_start, '.3f')} of the start)")
        return ", ".join(parts)

    def update(self) -> None:
        """Read the new lines, or all lines if the run was rewound."""
        for line in self._tail.read()[0]:
            self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        self.step = int(line["step"])
        if "warning" in line and line["warning"] not in self.warnings:
            self.warnings.append(str(line["warning"]))
        self.loss = float(line.get("loss", self.loss))
        self.rate = float(line.get("steps_per_s", self.rate))
        if "heldout" in line:
            self.held_out = float(line["heldout"]["loss"])
            if self.step == 0:
                self.start = self.held_out


class Progress:
    """The table of rows by name; :func:`following` updates and shows it.

    On a terminal the table is redrawn in place. Elsewhere each row that changed is printed as one sentence.
    """

    def __init__(self, rows: Mapping[str, Row], out: TextIO | None = None) -> None:
        self.rows = dict(rows)
        self._console = Console(file=out or sys.stdout, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._printed: dict[str, tuple[str, int]] = {}

    @property
    def on_terminal(self) -> bool:
        return self._console.is_terminal

    def table(self) -> Table:
        table = Table("run", "state", "step", "", "steps/s", "left", "loss", "held-out", "of start", box=None)
        for column in table.columns[4:]:
            column.justify = "right"
        for name, row in self.rows.items():
            bar = ProgressBar(total=row.steps, completed=row.step, width=20)
            rate, left = _number(row.rate or math.nan, ".2f"), row.left
            share = _number(row.of_start, ".3f")
            step = f"{row.step}/{row.steps}"
            table.add_row(name, row.state, step, bar, rate, left, _number(row.loss), _number(row.held_out), share)
        return table

    def show(self, final: bool = False) -> None:
        """Update the rows and show them."""
        for row in self.rows.values():
            row.update()
            for warning in row.warnings[row.warned :]:
                self.close()
                print(f"warning: {warning}", file=sys.stderr, flush=True)
            row.warned = len(row.warnings)
        if self.on_terminal:
            self._live.start()
            self._live.update(self.table(), refresh=True)
            return
        for name, row in self.rows.items():
            if final or self._printed.get(name) != (row.state, row.step):
                self._console.print(f"{name}: {row.sentence()}", soft_wrap=True)
            self._printed[name] = (row.state, row.step)

    def close(self) -> None:
        """Leave the table on the screen as it is."""
        self._live.stop()


@contextlib.contextmanager
def following(
    rows: Mapping[str, Row],
    out: TextIO | None = None,
    also: Collection[Callable[[], None]] = (),
    apart: Collection[Callable[[], None]] = (),
) -> Iterator[Progress]:
    """Show the runs' progress until the block ends, and call every function in ``also`` at the same interval.

    A function that fails is called again at the next interval and causes one warning: it never changes how a run ends.
    Functions in ``apart`` may take long, for example if a server does not answer. They run in a thread of their own,
    and the end of the block waits at most ``_LAST_S`` seconds for them.
    """
    progress = Progress(rows, out)
    stop = threading.Event()
    pause = _POLL_S if progress.on_terminal else _PRINT_S

    def show() -> None:
        progress.show(final=stop.is_set())

    def follow(followers: Collection[Callable[[], None]]) -> None:
        failing: set[int] = set()
        shown = -_PRINT_S
        stopped = False
        while not stopped:
            stopped = stop.wait(min(pause, _POLL_S))
            if not stopped and time.monotonic() - shown < pause:
                continue
            for number, follower in enumerate(followers):
                try:
                    follower()
                except Exception as error:
                    if number not in failing:
                        failing.add(number)
                        said = redact(f"run monitoring failed: {error}")
                        print(f"\nwarning: {said}; trying again", file=sys.stderr, flush=True)
            shown = time.monotonic()

    groups = [[show, *also], list(apart)] if apart else [[show, *also]]
    main, *others = (threading.Thread(target=follow, args=(group,), daemon=True) for group in groups)
    for thread in (main, *others):
        thread.start()
    try:
        yield progress
    finally:
        stop.set()
        main.join()
        progress.close()
        for thread in others:
            thread.join(_LAST_S)
            if thread.is_alive():
                print("\nwarning: a monitoring server does not answer; not waiting for it", file=sys.stderr, flush=True)


def _number(value: float, form: str = ".4g") -> str:
    """A dash stands for what is not known yet."""
    return "–" if math.isnan(value) else f"{value:{form}}"
