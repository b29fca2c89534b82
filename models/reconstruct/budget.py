"""How long a fit may go on: a number of steps, and optionally a moment at which it ends earlier."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Steps of each linearisation; ``until``: of :func:`time.monotonic`, None for as long as the steps take."""

    steps: int
    until: float | None = None

    @property
    def spent(self) -> bool:
        """Whether the moment has passed."""
        return self.until is not None and time.monotonic() >= self.until


def budget(steps: int, seconds: float | None) -> Budget:
    """The budget of a fit that begins now."""
    return Budget(steps, None if seconds is None else time.monotonic() + seconds)
