"""A light-stage capture on the chart, and its radiance under a light. Texels are shaded without a rasteriser.

Shapes: b batch, l coefficients, h w rows and columns. Linear RGB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.shading import Material, shade
from mosar.models.texture_space.lighting import even_gloss, tilted_views
from mosar.models.uv import Surface, chart, surface, to_world


@dataclass(frozen=True, eq=False)
class CapturedMaps:
    """Maps of captures, linear.

    Attributes:
        diffuse_b3hw: albedo.
        specular_b1hw, ao_b1hw, translucency_b1hw: in [0, 1].
        tangent_normal_b3hw: unit, tangent space.
        inside_11hw: 1 where the chart has skin, else 0.
    """

    diffuse_b3hw: Tensor
    specular_b1hw: Tensor
    ao_b1hw: Tensor
    translucency_b1hw: Tensor
    tangent_normal_b3hw: Tensor
    inside_11hw: Tensor


@dataclass(frozen=True, eq=False)
class CapturedSkin(CapturedMaps):
    """Maps of captures, and where their texels lie.

    Attributes:
        world_normal_b3hw: the tangent-space normals in the head frame.
        surface: position (mm), normal and tangents of the mesh, head frame.
    """

    world_normal_b3hw: Tensor
    surface: Surface


def read_maps(sample: Mapping[str, Tensor], head: Head) -> CapturedMaps:
    """The five maps of a decoded light-stage batch."""
    diffuse = to_linear(sample["diffuse"] / 255.0)
    inside = chart(head, diffuse.shape[-1]).triangle_hw >= 0
    return CapturedMaps(
        diffuse_b3hw=diffuse,
        specular_b1hw=sample["specular"] / 255.0,
        ao_b1hw=sample["ao"] / 255.0,
        translucency_b1hw=sample["translucency"] / 255.0,
        tangent_normal_b3hw=sample["normal"],
        inside_11hw=inside.to(diffuse)[None, None],
    )


def read_skin(sample: Mapping[str, Tensor], head: Head) -> CapturedSkin:
    """The captures of a decoded light-stage batch that has its mesh and all five maps."""
    maps = read_maps(sample, head)
    points = surface(chart(head, maps.diffuse_b3hw.shape[-1]), head, sample["mesh"])
    return CapturedSkin(**vars(maps), world_normal_b3hw=to_world(points, maps.tangent_normal_b3hw), surface=points)


def radiance(skin: CapturedSkin, light_blc: Tensor, eye_b3: Tensor) -> Tensor:
    """Radiance (b, 3, h, w) of every texel towards a camera at ``eye_b3`` (mm, head frame): >= 0, and 0 off the chart.

    Directions to the camera are those of :func:`~mosar.models.texture_space.lighting.tilted_views`.
    """
    normal = skin.world_normal_b3hw
    views = tilted_views(normal, skin.surface.position_b3hw, eye_b3)
    maps = (skin.diffuse_b3hw, skin.specular_b1hw, skin.ao_b1hw, skin.translucency_b1hw)
    material, smooth = Material(*(_points(m) for m in maps)), _points(skin.surface.normal_b3hw)
    seen = shade(material, _points(normal), _points(views), light_blc, mesh_normals=smooth)
    return seen.mT.unflatten(-1, views.shape[-2:]).clamp_min(0.0) * skin.inside_11hw


def light_normalized(maps: CapturedMaps) -> Tensor:
    """The light-normalised texture (b, 3, h, w), linear: white light of radiance one from everywhere, no camera.

    ``AO (rho + F0 a(1) + b(1))``: the shading's closed form under uniform light, each texel seen along its normal.
    It is the target of ``delight``: unlike the albedo, it does not require the ambient occlusion to be known.
    """
    return maps.ao_b1hw * (maps.diffuse_b3hw + even_gloss(maps.specular_b1hw)) * maps.inside_11hw


def subsample(skin: CapturedSkin, stride: int) -> CapturedSkin:
    """Every ``stride``-th texel of rows and columns: an expensive but smooth quantity is not needed everywhere."""

    def thin(value: Tensor | Surface) -> Any:
        if isinstance(value, Tensor):
            return value[..., ::stride, ::stride]
        return Surface(*(thin(v) for v in vars(value).values()))

    return CapturedSkin(**{name: thin(value) for name, value in vars(skin).items()})


def _points(maps_bchw: Tensor) -> Tensor:
    return maps_bchw.flatten(2).mT
