"""Directions spread evenly by a golden spiral (Vogel 1979; on the sphere: Swinbank and Purser 2006). Float64."""

import numpy as np
from numpy.typing import NDArray

_GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def on_sphere(count: int) -> NDArray[np.float64]:
    """Unit directions (count, 3) that share the sphere evenly."""
    index = np.arange(count) + 0.5
    y, angle = 1 - 2 * index / count, index * _GOLDEN_ANGLE
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.sin(angle), y, radius * np.cos(angle)], -1)


def on_hemisphere(count: int) -> NDArray[np.float64]:
    """Unit directions (count, 3) above z = 0, as dense as their cosine to +z.

    They are the normals of a ball seen from +z, evenly over its disc in the picture.
    """
    index = np.arange(count) + 0.5
    radius, angle = np.sqrt(index / count), index * _GOLDEN_ANGLE
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.sqrt(1 - index / count)], -1)
