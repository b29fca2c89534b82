"""A live table of runs, read from their metrics: step, rate, time left, losses. Also where stdout is no terminal."""

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from mosar.platform.runs import run

_POLL_S, _PRINT_S = 1.0, 10.0
_LAST_S = 15.0
"""What follows runs apart has so long for its last look."""


@dataclass
class Row:
    """What is known of one run."""

    location: str
    steps: int
    state: str = "waiting"
    step: int = 0
    rate: float = 0.0
    loss: float = float("nan")
    start: float = float("nan")
    held_out: float = float("nan")
    warnings: list[str] = field(default_factory=list)
    warned: int = 0

    def __post_init__(self) -> None:
        self._tail = run.Tail(self.location)

    def update(self) -> None:
        """Take in the lines that were added, or all of them where the run was rewound."""
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
    """The rows by name; :func:`following` keeps them fresh and shown."""

    def __init__(self, rows: Mapping[str, Row], out: TextIO | None = None) -> None:
        self.rows = dict(rows)
        self._out = out or sys.stdout
        self._drawn = 0
        self._printed: dict[str, tuple[str, int]] = {}

    def table(self) -> list[str]:
        width = max([len(name) for name in self.rows] + [3])
        head = f"{'run':<{width}}  {'state':<8}  {'step':>15}  {'':<20}  {'steps/s':>7}  {'left':>8}  {'loss':>9}  "
        return [head + f"{'held-out':>9}  {'of start':>8}", *(self._line(name, width) for name in self.rows)]

    def _line(self, name: str, width: int) -> str:
        row = self.rows[name]
        filled = round(20 * row.step / row.steps)
        left = _clock((row.steps - row.step) / row.rate) if row.rate > 0 and row.state == "training" else ""
        share = row.held_out / row.start if row.start else float("nan")
        return (
            f"{name:<{width}}  {row.state:<8}  {f'{row.step}/{row.steps}':>15}  {'#' * filled:.<20}  {row.rate:>7.2f}  "
            f"{left:>8}  {row.loss:>9.4g}  {row.held_out:>9.4g}  {share:>8.3f}"
        )

    def show(self, final: bool = False) -> None:
        """Draw the table anew on a terminal; elsewhere print the lines that changed."""
        for row in self.rows.values():
            row.update()
            for warning in row.warnings[row.warned :]:
                print(f"\nwarning: {warning}", file=sys.stderr, flush=True)
                self._drawn = 0
            row.warned = len(row.warnings)
        lines = self.table()
        if self._out.isatty():
            columns = shutil.get_terminal_size().columns
            up = f"\x1b[{self._drawn}F" if self._drawn else ""
            self._out.write(up + "".join(f"\x1b[2K{line[:columns]}\n" for line in lines))
            self._drawn = len(lines)
        else:
            changed = [
                line
                for name, line in zip(self.rows, lines[1:], strict=True)
                if final or self._printed.get(name) != (self.rows[name].state, self.rows[name].step)
            ]
            self._printed = {name: (row.state, row.step) for name, row in self.rows.items()}
            if changed:
                self._out.write("\n".join([lines[0], *changed]) + "\n")
        self._out.flush()


@contextlib.contextmanager
def following(
    rows: Mapping[str, Row],
    out: TextIO | None = None,
    also: Collection[Callable[[], None]] = (),
    apart: Collection[Callable[[], None]] = (),
) -> Iterator[Progress]:
    """Show the runs' progress until the block ends, and call each of ``also`` as often: what else follows the runs.

    One that fails is tried again the next time, and warned of once: what follows a run does not decide how it ends.
    Those ``apart`` may take long, as a server may that does not answer: the others do not wait for them, and the end of
    the block only for a while.
    """
    progress = Progress(rows, out)
    stop = threading.Event()
    pause = _POLL_S if progress._out.isatty() else _PRINT_S

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
                        print(f"\nwarning: following the runs: {error}; it is tried again", file=sys.stderr, flush=True)
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
        for thread in others:
            thread.join(_LAST_S)
            if thread.is_alive():
                print("\nwarning: a server that follows the runs does not answer; left", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
