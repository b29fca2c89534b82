"""Choice between the two renderers of the virtual light stage."""

from typing import Literal

Renderer = Literal["fast", "path"]
"""``fast``: the project's rasteriser and shading. ``path``: path tracing with Mitsuba, true shadows and bounces."""
Choice = Literal["fast", "path", "mixed"]


def check(choice: Choice) -> None:
    """Check that the chosen renderer is installed.

    Raises:
        ConfigError: it is not installed; the message names the extra to install.
    """
    if choice != "fast":
        from mosar.datasets import path_tracer

        path_tracer.load()
