"""Captures under random light, as a photograph shows them: lit, partly hidden, and with an estimate of the light."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.head import Head
from mosar.models.relight import perturb_light, random_lights
from mosar.models.texture_space.captured_skin import CapturedSkin, radiance, read_skin
from mosar.models.texture_space.lighting import Lighting, lighting, rough_ao
from mosar.models.texture_space.visibility_sampling import random_eyes, random_known

CAPTURE_FIELDS = ("mesh", "light", "diffuse", "specular", "ao", "translucency", "normal")
"""Fields of a capture that are needed to light it anew."""


@dataclass(frozen=True, eq=False)
class RelitCapture:
    """The skin; its linear colour under a random light; the texels that one view shows; the light as estimated."""

    skin: CapturedSkin
    lit_b3hw: Tensor
    known_b1hw: Tensor
    light: Lighting


def relit_capture(
    sample: Mapping[str, Tensor], head: Head, generator: torch.Generator, light_noise: float
) -> RelitCapture:
    """Light the captures of a batch (``CAPTURE_FIELDS``) anew and hide what one random view does not show.

    ``light_noise`` is the deviation of the estimated light, relative to the light's own deviation in each band.
    """
    skin = read_skin(sample, head)
    eye = random_eyes(len(sample["mesh"]), generator, sample["mesh"].device)
    light = random_lights(sample["light"], generator)
    lit = radiance(skin, light, eye)
    known = random_known(skin.surface, skin.inside_11hw, eye, generator)
    estimate = perturb_light(light, generator, light_noise)
    return RelitCapture(skin, lit, known, lighting(estimate, skin.surface, eye, rough_ao(skin.ao_b1hw, generator)))
