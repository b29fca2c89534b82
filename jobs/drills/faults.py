"""A short training, disturbed in every way, has to end with the undisturbed one's weights."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Config:
    """Attributes:

    preset: how much.
    """

    preset: Literal["tiny"] = "tiny"


def run(config: Config) -> dict[str, Any]:
    """The metrics."""
    return {}
