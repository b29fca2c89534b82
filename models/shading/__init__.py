"""Shading in linear RGB under nine bands of spherical harmonics: diffuse, translucent, specular, occluded.

Every function takes points either as pixels or texels (B, N, 3) under lights (B, 81, 3), or as packed covered pixels
(N, 3) with ``image_n`` (N), the ascending index of each point's light. Without ``image_n`` packed points share the
light (1, 81, 3).
"""

from mosar.models.shading import sh
from mosar.models.shading.light import irradiance, negative_lobes, reflection
from mosar.models.shading.material import RELIEF, SHARPNESS, Material, highlight, shade, soften
from mosar.models.shading.module import Light

__all__ = [
    "RELIEF", "SHARPNESS", "Light", "Material", "highlight", "irradiance", "negative_lobes", "reflection", "sh",
    "shade", "soften",
]  # fmt: skip
