"""What the stages that work on the chart share: captures as texels, their radiance, views, holes."""

from mosar.models.texels.average import AverageSkin
from mosar.models.texels.fill import Filled, fill, spread
from mosar.models.texels.photograph import degrade
from mosar.models.texels.skin import Maps, Skin, evenly_lit, every, radiance, read_maps, read_skin, shading
from mosar.models.texels.view import random_eyes, random_known

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
