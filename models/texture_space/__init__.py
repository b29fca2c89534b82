"""Shared by the stages that work in texture space: captures as texels, their lighting, visibility and hole filling."""

from mosar.models.texture_space.average_skin import AverageSkin, skin_texels
from mosar.models.texture_space.camera_degradation import degrade
from mosar.models.texture_space.captured_skin import (
    CapturedMaps,
    CapturedSkin,
    light_normalized,
    radiance,
    read_maps,
    read_skin,
    subsample,
)
from mosar.models.texture_space.cast_shadows import cast_shadows
from mosar.models.texture_space.fill import Filled, fill, fill_large, pull_push
from mosar.models.texture_space.lighting import Lighting, even_gloss, lighting, rough_ao, shading
from mosar.models.texture_space.relit_capture import (
    CAPTURE_FIELDS,
    Photographed,
    RelitCapture,
    brightness_ratio,
    fields,
    mirror_some,
    photographed,
)
from mosar.models.texture_space.unwrapped_photograph import (
    ESTIMATE_FIELDS,
    UnwrappedPhotograph,
    unwrapped_photograph,
)
from mosar.models.texture_space.visibility_sampling import random_eyes, random_known

__all__ = [
    "CAPTURE_FIELDS",
    "ESTIMATE_FIELDS",
    "AverageSkin",
    "CapturedMaps",
    "CapturedSkin",
    "Filled",
    "Lighting",
    "Photographed",
    "RelitCapture",
    "UnwrappedPhotograph",
    "brightness_ratio",
    "cast_shadows",
    "degrade",
    "even_gloss",
    "fields",
    "fill",
    "fill_large",
    "light_normalized",
    "lighting",
    "mirror_some",
    "photographed",
    "pull_push",
    "radiance",
    "random_eyes",
    "random_known",
    "read_maps",
    "read_skin",
    "rough_ao",
    "shading",
    "skin_texels",
    "subsample",
    "unwrapped_photograph",
]
