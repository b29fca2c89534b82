"""What a turntable shows: the head turns once about the vertical, then the light goes round it once.

Both rounds start and end at the front, so that the pictures can be shown in a loop. Importing this loads no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mosar.errors import ConfigError

SIZES, LENGTHS_S, RATES = (64, 1024), (1.0, 30.0), (1, 30)
"""Least and greatest side (pixels), length (seconds) and pictures per second."""


@dataclass(frozen=True)
class View:
    """Degrees by which the head and the light are turned about the head frame's y axis, to the subject's left."""

    head: float = 0.0
    light: float = 0.0


@dataclass(frozen=True)
class TurntablePlan:
    """Attributes:

    size: side of the square pictures, pixels; an even number from 64 to 1024.
    seconds: length, 1 to 30.
    rate: pictures per second, 1 to 30.

    Raises:
        ConfigError: a value is out of range.
    """

    size: int = 384
    seconds: float = 8.0
    rate: int = 15

    def __post_init__(self) -> None:
        _check("size", self.size, SIZES)
        _check("seconds", self.seconds, LENGTHS_S)
        _check("frames per second", self.rate, RATES)
        if self.size % 2:  # video codecs store the colours of two by two pixels together
            raise ConfigError(f"size: got {self.size}, expected an even number of pixels; give {self.size + 1}")

    @property
    def views(self) -> list[View]:
        """In the first half the head turns, in the second the light."""
        count = max(round(self.seconds * self.rate), 2)
        turned, lit = count // 2, count - count // 2
        return [View(head=360.0 * i / turned) for i in range(turned)] + [
            View(light=360.0 * i / lit) for i in range(lit)
        ]


def _check(name: str, value: float, limits: Sequence[float]) -> None:
    if not limits[0] <= value <= limits[1]:
        raise ConfigError(f"{name}: got {value:g}, expected {limits[0]:g} to {limits[1]:g}")
