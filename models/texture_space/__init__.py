"""Shared by the stages that work in texture space: captures as texels, radiance, visibility and hole filling."""

from mosar.models.texture_space.average_skin import AverageSkin
from mosar.models.texture_space.camera_degradation import degrade
from mosar.models.texture_space.captured_skin import (
    CapturedMaps,
    CapturedSkin,
    light_normalized,
    radiance,
    read_maps,
    read_skin,
    shading,
    subsample,
)
from mosar.models.texture_space.fill import Filled, fill, pull_push
from mosar.models.texture_space.visibility_sampling import random_eyes, random_known

__all__ = [
    "AverageSkin",
    "CapturedMaps",
    "CapturedSkin",
    "Filled",
    "degrade",
    "fill",
    "light_normalized",
    "pull_push",
    "radiance",
    "random_eyes",
    "random_known",
    "read_maps",
    "read_skin",
    "shading",
    "subsample",
]
