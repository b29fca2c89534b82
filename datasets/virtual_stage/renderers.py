"""The two renderers of the virtual light stage behind one choice."""

from typing import Literal

Renderer = Literal["fast", "path"]
"""``fast``: the project's own rasteriser and shading. ``path``: Mitsuba's path tracing, true shadows and bounces."""
Choice = Literal["fast", "path", "mixed"]


def check(choice: Choice) -> None:
    """Load what a choice needs.

    Raises:
        ConfigError: it is not installed; the message names the extra that holds it.
    """
    if choice != "fast":
        from mosar.datasets import path_tracer

        path_tracer.load()
