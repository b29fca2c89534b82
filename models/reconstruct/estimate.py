"""The state of a reconstruction: what is known of a photograph so far. Each step adds to it.

Legend: s texels a side of the maps, h w pixels of the crop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mosar.models.head import Head
from mosar.models.reconstruct.refine import Fit
from mosar.models.uv import Surface


@dataclass(frozen=True)
class Portrait:
    """What is known of a photograph before the reconstruction.

    Attributes:
        crop_13hw: the face crop, sRGB-encoded in [0, 1], ``Settings.crop_size`` pixels a side.
        skin_11hw: bool, where the crop shows bare facial skin.
        landmarks_1n2: the detector's points, pixels of the crop.
        intrinsics_133: of the crop, pixels.
        to_crop_133: affine map from pixels of the photograph to those of the crop.
        width, height: of the photograph, pixels.
    """

    crop_13hw: Tensor
    skin_11hw: Tensor
    landmarks_1n2: Tensor
    intrinsics_133: Tensor
    to_crop_133: Tensor
    width: int
    height: int


@dataclass(frozen=True)
class Maps:
    """Texture maps on the skin's chart, each (1, c, s, s), row 0 at v = 1.

    Attributes:
        diffuse: albedo, linear RGB in [0, 1].
        specular: S in [0, 1]; F0 = 0.08 S.
        ao: ambient occlusion in [0, 1], 1 is open.
        translucency: in [0, 1].
        normal: unit vectors in tangent space (x along +u, y along +v, z outward).
        confidence: 1 where the photograph shows the texel, 0.5 where it shows the mirrored texel, 0 where inpainted.
    """

    diffuse: Tensor
    specular: Tensor
    ao: Tensor
    translucency: Tensor
    normal: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Settings:
    """Settings of a reconstruction: texels a side of the maps, pixels a side of the crop, steps of the fit."""

    map_size: int
    crop_size: int
    refine_steps: int


_LATER: Any = None
"""Default of a field that stays None until the step named in its description has run."""


@dataclass(frozen=True)
class Estimate:
    """The state that steps receive and return; a step returns ``dataclasses.replace(estimate, ...)``.

    Attributes:
        head, portrait, settings: the input.
        fit: mesh, neutral mesh and camera of the crop; set by ``geometry``.
        surface: of the mesh at every texel; set by ``completion``, like the next four.
        seen_13hw: the photograph on the chart, linear, 0 where it shows nothing.
        known_11hw: 1 where the photograph shows the texel, else 0.
        shading_13hw: irradiance / pi of the encoder's light at the mesh's normals.
        texture_13hw: the completed texture, linear.
        light_normalized_13hw: the texture under white light of radiance one; set by ``delight``.
        maps: set by ``intrinsics`` (with flat normals); ``normals`` sets the normals.
        light_1lc: nine SH bands, head frame, linear RGB; set by
            :func:`~mosar.models.reconstruct.pipeline.reconstruct`, like ``expression``.
        expression: weight in [0, 1] of each named expression.
        timings_s: seconds that each step took.
    """

    head: Head
    portrait: Portrait
    settings: Settings
    fit: Fit = _LATER
    surface: Surface = _LATER
    seen_13hw: Tensor = _LATER
    known_11hw: Tensor = _LATER
    shading_13hw: Tensor = _LATER
    texture_13hw: Tensor = _LATER
    light_normalized_13hw: Tensor = _LATER
    maps: Maps = _LATER
    light_1lc: Tensor = _LATER
    expression: Mapping[str, float] = _LATER
    timings_s: Mapping[str, float] = field(default_factory=dict)
