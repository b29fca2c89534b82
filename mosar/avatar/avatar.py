"""The result of a reconstruction."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mosar.models.camera import Camera


@dataclass(frozen=True)
class Maps:
    """Texture maps on the skin's chart, each (1, c, s, s), row 0 at v = 1.

    Attributes:
        diffuse: albedo, linear RGB in [0, 1].
        specular: S in [0, 1]; F0 = 0.08 S.
        ao: ambient occlusion in [0, 1], 1 is open.
        translucency: in [0, 1].
        normal: unit vectors in tangent space (x along +u, y along +v, z outward).
        confidence: 1 where the photograph showed the texel, 0.5 where its mirror image did, 0 where it was made up.
    """

    diffuse: Tensor
    specular: Tensor
    ao: Tensor
    translucency: Tensor
    normal: Tensor
    confidence: Tensor


@dataclass(frozen=True)
class Avatar:
    """A relightable head.

    Attributes:
        vertices_1v3: mm, head frame, the photograph's expression included, in the head file's vertex order.
        neutral_1v3: the same person without the expression, likewise.
        maps: texture maps of the skin.
        camera: of the whole photograph, OpenCV, pixels and mm, batch of one.
        light_1lc: nine SH bands of the photograph's light, head frame, linear RGB.
        expression: weight of each named blendshape, in [0, 1].
        landmarks_n2: the embedded landmarks in pixels of the photograph; NaN where not embedded.
        width, height: of the photograph, pixels.
        timings_s: seconds that each step took.
    """

    vertices_1v3: Tensor
    neutral_1v3: Tensor
    maps: Maps
    camera: Camera
    light_1lc: Tensor
    expression: Mapping[str, float]
    landmarks_n2: Tensor
    width: int
    height: int
    timings_s: Mapping[str, float]
