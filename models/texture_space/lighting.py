"""What the light does to a texel, as a gain and an offset: the same step turns a lit texture even and an even one lit.

An *even* (light-normalised) texture is the skin under white light of radiance one from everywhere, each texel seen
along its normal: ``AO (rho + F0 a(1) + b(1))``. Shapes: b batch, l coefficients, h w rows and columns. Linear RGB.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mosar.models.losses import resized
from mosar.models.shading import irradiance
from mosar.models.shading.material import environment_brdf, highlight
from mosar.models.uv import Surface
from mosar.models.vectors import unit

SPECULAR = 0.35
"""The specular map's value that is assumed where nothing better is known: F0 = 0.028."""
DARKEST = 0.12
"""Least shading, as a share of its mean: darker estimates are errors, by which no photograph should be divided."""
_SEEN = 0.35  # cosine between normal and view above which the view direction is never tilted


@dataclass(frozen=True, eq=False)
class Lighting:
    """``lit = even * shading + highlight``, texel by texel.

    Attributes:
        shading_b3hw: irradiance / pi, at least a share of its mean.
        highlight_b3hw: the reflected light that the even texture lacks; negative where it has more.
    """

    shading_b3hw: Tensor
    highlight_b3hw: Tensor

    def lit(self, even_b3hw: Tensor) -> Tensor:
        return even_b3hw * self.shading_b3hw + self.highlight_b3hw

    def even(self, lit_b3hw: Tensor) -> Tensor:
        return (lit_b3hw - self.highlight_b3hw) / self.shading_b3hw

    def resized(self, like_bchw: Tensor) -> "Lighting":
        """The same for maps of the size of ``like``; it is smooth."""
        return Lighting(resized(self.shading_b3hw, like_bchw), resized(self.highlight_b3hw, like_bchw))


def lighting(light_blc: Tensor, surface: Surface, eye_b3: Tensor, ao_b1hw: Tensor) -> Lighting:
    """The lighting of a smooth surface with the usual specular map; ``eye_b3``: camera position, mm, head frame."""
    normal = surface.normal_b3hw
    shade = shading(light_blc, normal)
    inside = normal.square().sum(dim=1, keepdim=True) > 0.5
    mean = (shade * inside).sum(dim=(2, 3), keepdim=True) / inside.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    shade = torch.where(inside, torch.maximum(shade, DARKEST * mean), mean).clamp_min(1e-3)
    views = tilted_views(normal, surface.position_b3hw, eye_b3)
    found = highlight(torch.full_like(ao_b1hw, SPECULAR).flatten(2).mT, _points(normal), _points(views), light_blc)
    gloss = ao_b1hw * found.mT.unflatten(-1, normal.shape[-2:]).clamp_min(0.0)
    return Lighting(shade, (gloss - ao_b1hw * even_gloss(SPECULAR) * shade) * inside)


def even_gloss(specular: Tensor | float) -> Tensor:
    """``F0 a(1) + b(1)``: what a texel of this specular map reflects under even light, apart from its albedo."""
    a, b = environment_brdf(torch.ones(1))
    return 0.08 * torch.as_tensor(specular) * float(a) + float(b)


def shading(light_blc: Tensor, world_normal_b3hw: Tensor) -> Tensor:
    """Irradiance / pi (b, 3, h, w) at normals in the head frame, at least 0; 1 under white light of radiance one."""
    lit = irradiance(light_blc, _points(world_normal_b3hw)) / math.pi
    return lit.mT.unflatten(-1, world_normal_b3hw.shape[-2:]).clamp_min(0.0)


def rough_ao(ao_b1hw: Tensor, generator: torch.Generator) -> Tensor:
    """What a person's own geometry tells of the ambient occlusion of captures: no pores and wrinkles, some error."""
    cells = max(8, ao_b1hw.shape[-1] // 4)
    coarse = interpolate(ao_b1hw, size=(cells, cells), mode="area")
    noise = torch.randn(len(ao_b1hw), 1, 8, 8, generator=generator, device=generator.device).to(ao_b1hw)
    error = interpolate(0.06 * noise, size=ao_b1hw.shape[-2:], mode="bicubic", align_corners=False)
    smooth = interpolate(coarse, size=ao_b1hw.shape[-2:], mode="bilinear", align_corners=False)
    return (smooth + error * (1.0 - smooth)).clamp(0.0, 1.0)


def tilted_views(normal_b3hw: Tensor, position_b3hw: Tensor, eye_b3: Tensor) -> Tensor:
    """Unit directions (b, 3, h, w) to the camera, tilted towards the normal where the camera sees the texel badly.

    The less visible the texel, the stronger the tilt. Without it texels at a grazing angle, or hidden, would have a
    bright specular rim, which no photograph shows.
    """
    views = unit(eye_b3[:, :, None, None] - position_b3hw)
    facing = (views * normal_b3hw).sum(dim=1, keepdim=True)
    least = (_SEEN + (0.2 - facing).clamp_min(0.0)).clamp_max(0.95)
    across = unit(views - facing * normal_b3hw)
    tilted = least * normal_b3hw + (1.0 - least.square()).sqrt() * across
    return torch.where(facing < least, tilted, views)


def _points(maps_bchw: Tensor) -> Tensor:
    return maps_bchw.flatten(2).mT
