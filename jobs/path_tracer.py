"""A renderer that is not ours: Mitsuba 3, for the references of evaluations. Linear RGB, head frame, millimetres."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosar.errors import ConfigError

Floats = NDArray[np.floating[Any]]

VARIANT = "scalar_rgb"


def _mitsuba() -> Any:
    try:
        import mitsuba
    except ImportError as error:
        raise ConfigError("this evaluation needs Mitsuba: pip install 'mosar[dev]'") from error
    mitsuba.set_variant(VARIANT)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    return mitsuba


def sphere(radius: float, skin: Mapping[str, Any]) -> Mapping[str, Any]:
    """A sphere around the origin, with exact normals."""
    return {"type": "sphere", "radius": radius, "bsdf": skin}


def mesh(vertices_v3: Floats, triangles_f3: NDArray[np.int64], normals_v3: Floats, colour_v3: Floats, skin: Any) -> Any:
    """A mesh with smooth normals; ``reflectance`` of ``skin`` may read the vertices' colours as ``vertex_colour``."""
    mi = _mitsuba()
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict(skin)
    shape = mi.Mesh("mesh", len(vertices_v3), len(triangles_f3), has_vertex_normals=True, props=properties)
    shape.add_attribute("vertex_colour", 3, np.ravel(colour_v3).astype(np.float32).tolist())
    parameters = mi.traverse(shape)
    parameters["vertex_positions"] = np.ravel(vertices_v3).astype(np.float32)
    parameters["vertex_normals"] = np.ravel(normals_v3).astype(np.float32)
    parameters["faces"] = np.ravel(triangles_f3).astype(np.uint32)
    parameters.update()
    return shape


def skin(reflectance: Mapping[str, Any], alpha: float | None, eta: float = 1.4) -> Mapping[str, Any]:
    """Lambert; with ``alpha`` plus, not blended with, a GGX lobe of that roughness under a dielectric's Fresnel.

    ``reflectance`` is a texture of the albedo, *doubled* if there is a lobe: the sum is a blend of doubled parts.
    """
    diffuse = {"type": "diffuse", "reflectance": dict(reflectance)}
    if alpha is None:
        return diffuse
    lobe = {"type": "roughconductor", "distribution": "ggx", "alpha": alpha, "eta": eta, "k": 0.0}
    lobe["specular_reflectance"] = 2.0
    return {"type": "blendbsdf", "weight": 0.5, "diffuse": diffuse, "specular": lobe}


def trace(
    shape: Any, environment_hw3: Floats, eye: Floats, target: Floats, field_of_view: float, size: int, samples: int,
    bounces: int = 6,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:  # fmt: skip
    """A square picture (size, size, 3), and the pixels (size, size) that the shape fills wholly.

    The environment map is in our convention, which is Mitsuba's but for the rows: its first and last are the poles.
    ``field_of_view`` in degrees; pixels are box filtered.
    """
    mi = _mitsuba()
    between = np.concatenate([environment_hw3[:1], environment_hw3, environment_hw3[-1:]])
    rows = np.empty((2 * len(environment_hw3) + 1, *environment_hw3.shape[1:]), np.float32)
    rows[0::2], rows[1::2] = (between[1:] + between[:-1]) / 2, environment_hw3
    look = {"origin": [float(x) for x in eye], "target": [float(x) for x in target], "up": [0.0, 1.0, 0.0]}
    scene = mi.load_dict({
        "type": "scene",
        "integrator": {"type": "path", "max_depth": bounces, "hide_emitters": True},
        "shape": shape,
        "light": {"type": "envmap", "bitmap": mi.Bitmap(rows)},
        "camera": {
            "type": "perspective",
            "fov": field_of_view,
            "near_clip": 1.0,
            "far_clip": 1e5,
            "to_world": mi.ScalarTransform4f().look_at(**look),
            "film": {
                "type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgba", "component_format": "float32",
                "rfilter": {"type": "box"},
            },
            "sampler": {"type": "multijitter", "sample_count": samples},
        },
    })  # fmt: skip
    picture = np.array(mi.render(scene))
    return picture[..., :3], picture[..., 3] > 1 - 1e-6


def field_of_view(size: int, focal: float) -> float:
    """Degrees that ``size`` pixels span at a focal length in pixels."""
    return math.degrees(2 * math.atan(size / 2 / focal))
