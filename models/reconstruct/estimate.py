"""The state of a reconstruction: what is known of a photograph so far. Each step adds to it.

Legend: s texels a side of the maps, h w pixels of the crop, k classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mosar.models.head import Head
from mosar.models.reconstruct.refine import Fit
from mosar.models.texture_space import Filled, Lighting
from mosar.models.uv import Surface

if TYPE_CHECKING:
    from mosar.models.reconstruct.seen import Seen
    from mosar.models.reconstruct.tone import Tone


_LATER: Any = None
"""Default of a field that stays None until the step named in its description has run."""


@dataclass(frozen=True)
class Portrait:
    """What is known of a photograph before the reconstruction.

    Attributes:
        photograph_hw3: the whole photograph, upright and without borders, uint8 sRGB.
        thumbnail_13tt: mean colours of the whole photograph on a coarse grid, sRGB-encoded in [0, 1].
        crop_13hw: the face crop, sRGB-encoded in [0, 1], ``Settings.crop_size`` pixels a side.
        inside_11hw: 1 where the crop shows the photograph, 0 beyond it.
        points_1n3: the detector's points, pixels of the crop, and their depth relative to the head's centre in its
            pixels, smaller towards the camera.
        scores_1e: the detector's scores of expressions, in the order of
            :data:`mosar.models.head.expressions.NAMES`.
        intrinsics_133: of the crop, pixels.
        to_crop_133: affine map from pixels of the photograph to those of the crop.
        width, height: of the photograph, pixels.
        colourless: whether it is black and white.
        focal_known: whether the camera recorded its focal length; otherwise it is assumed.
        classes_1khw: probability of each of :data:`~mosar.models.face_classes.CLASSES` in the crop, 0 beyond the
            photograph; set by ``segmentation``.
    """

    photograph_hw3: Tensor
    thumbnail_13tt: Tensor
    crop_13hw: Tensor
    inside_11hw: Tensor
    points_1n3: Tensor
    scores_1e: Tensor
    intrinsics_133: Tensor
    to_crop_133: Tensor
    width: int
    height: int
    colourless: bool = False
    focal_known: bool = False
    classes_1khw: Tensor = _LATER

    @property
    def landmarks_1n2(self) -> Tensor:
        """The detector's points, pixels of the crop."""
        return self.points_1n3[..., :2]


@dataclass(frozen=True)
class Maps:
    """Texture maps on the skin's chart, each (1, c, s, s), row 0 at v = 1; each map has a size of its own.

    Attributes:
        diffuse: albedo, linear RGB in [0, 1].
        specular: S in [0, 1]; F0 = 0.08 S.
        ao: ambient occlusion in [0, 1], 1 is open.
        translucency: in [0, 1].
        normal: unit vectors in tangent space (x along +u, y along +v, z outward).
        confidence: 1 where the photograph shows the texel, 0.5 where it shows the mirrored texel, 0 where inpainted,
            and between them in the seams and where the texel is seen from the side.
    """

    diffuse: Tensor
    specular: Tensor
    ao: Tensor
    translucency: Tensor
    normal: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Settings:
    """Settings of a reconstruction.

    Attributes:
        map_size: texels a side of the maps that networks see.
        crop_size: pixels a side of the crop.
        fit_steps: steps of the shape fit.
        fit_seconds: seconds after which the shape fit ends earlier; None: never.
        size: texels a side of the avatar's albedo and normals; None: the smallest that holds the photograph's detail.
    """

    map_size: int
    crop_size: int
    fit_steps: int
    size: int | None = None
    fit_seconds: float | None = None


@dataclass(frozen=True)
class Estimate:
    """The state that steps receive and return; a step returns ``dataclasses.replace(estimate, ...)``.

    Attributes:
        head, portrait, settings: the input.
        fit: mesh, neutral mesh and camera of the crop; set by ``geometry``.
        surface: of the mesh at ``BASE`` texels; set by :func:`~mosar.models.reconstruct.light.see`, like the next five.
        ao_11hw: share of the surroundings that each of these texels sees past the head itself.
        seen: the photograph on the chart.
        light_1lc: nine SH bands, head frame, linear RGB; set again at the end, when the maps are known.
        tone: the posterior of the skin's tone.
        lighting: shading and highlights of that light at ``BASE`` texels.
        filled: sources of the completed texture, of the avatar's size; set by ``completion``, like the next.
        texture_13hw: the completed texture, lit as in the photograph, linear, of the avatar's size.
        light_normalized_13hw: the texture under white light of radiance one; set by ``delight``.
        maps: set by ``intrinsics`` (with flat normals); ``normals`` sets the normals.
        eyes_hw3, mouth_hw3: albedo maps of the two other materials, uint8 sRGB; set by
            :func:`~mosar.models.reconstruct.pipeline.reconstruct`, like the next.
        expression: weight in [0, 1] of each named expression.
        timings_s: seconds that each step took.
    """

    head: Head
    portrait: Portrait
    settings: Settings
    fit: Fit = _LATER
    surface: Surface = _LATER
    ao_11hw: Tensor = _LATER
    seen: "Seen" = _LATER
    light_1lc: Tensor = _LATER
    tone: "Tone" = _LATER
    lighting: Lighting = _LATER
    filled: Filled = _LATER
    texture_13hw: Tensor = _LATER
    light_normalized_13hw: Tensor = _LATER
    maps: Maps = _LATER
    eyes_hw3: Any = _LATER
    mouth_hw3: Any = _LATER
    expression: Mapping[str, float] = _LATER
    timings_s: Mapping[str, float] = field(default_factory=dict)
