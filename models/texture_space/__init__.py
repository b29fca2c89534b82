"""What the stages that work on the chart share: captures as texels, their radiance, views, holes."""

from mosar.models.texture_space.average_skin import AverageSkin
from mosar.models.texture_space.camera_degradation import degrade
from mosar.models.texture_space.captured_skin import (
    Maps,
    Skin,
    evenly_lit,
    every,
    radiance,
    read_maps,
    read_skin,
    shading,
)
from mosar.models.texture_space.fill import Filled, fill, spread
from mosar.models.texture_space.visibility_sampling import random_eyes, random_known

__all__ = [
    "AverageSkin",
    "Filled",
    "Maps",
    "Skin",
    "degrade",
    "evenly_lit",
    "every",
    "fill",
    "radiance",
    "random_eyes",
    "random_known",
    "read_maps",
    "read_skin",
    "shading",
    "spread",
]
