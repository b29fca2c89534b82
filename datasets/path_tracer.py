"""Path tracing with Mitsuba 3, an independent renderer. Linear RGB, head frame, millimetres.

Mitsuba is an optional dependency: ``pip install -e '.[path]'``. The same scene gives the same picture; on another
number of cores the last bits of the floats may differ.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosar.errors import ConfigError

Floats = NDArray[np.floating[Any]]

VARIANT = "scalar_rgb"


def load() -> Any:
    """The ``mitsuba`` module, with its variant set.

    Raises:
        ConfigError: it is not installed; the message names the extra to install.
    """
    try:
        import mitsuba
    except ImportError as error:
        raise ConfigError(
            "path tracing needs Mitsuba, which is not installed: .venv/bin/pip install -e '.[path]'"
        ) from error
    mitsuba.set_variant(VARIANT)
    mitsuba.set_log_level(mitsuba.LogLevel.Error)
    return mitsuba


def sphere(radius: float, skin: Mapping[str, Any]) -> Mapping[str, Any]:
    """A sphere around the origin, with exact normals."""
    return {"type": "sphere", "radius": radius, "bsdf": skin}


def mesh(
    vertices_v3: Floats, triangles_f3: NDArray[np.int64], normals_v3: Floats, colour_v3: Floats, skin: Any,
    uv_v2: Floats | None = None,
) -> Any:  # fmt: skip
    """A mesh with smooth normals; ``reflectance`` of ``skin`` may read the vertex colours as ``vertex_colour``.

    ``uv_v2``: texture coordinates, v up (this project's convention).
    """
    mi = load()
    properties = mi.Properties()
    properties["mesh_bsdf"] = mi.load_dict(skin)
    shape = mi.Mesh("mesh", len(vertices_v3), len(triangles_f3), has_vertex_normals=True,
                    has_vertex_texcoords=uv_v2 is not None, props=properties)  # fmt: skip
    shape.add_attribute("vertex_colour", 3, np.ravel(colour_v3).astype(np.float32).tolist())
    parameters = mi.traverse(shape)
    parameters["vertex_positions"] = np.ravel(vertices_v3).astype(np.float32)
    parameters["vertex_normals"] = np.ravel(normals_v3).astype(np.float32)
    if uv_v2 is not None:
        parameters["vertex_texcoords"] = np.ravel(uv_v2 * [1, -1] + [0, 1]).astype(np.float32)
    parameters["faces"] = np.ravel(triangles_f3).astype(np.uint32)
    parameters.update()
    return shape


def skin(reflectance: Mapping[str, Any], alpha: float | None, eta: float = 1.4) -> Mapping[str, Any]:
    """Lambert BSDF; ``alpha`` adds a GGX lobe with that alpha and dielectric Fresnel, without dimming the Lambert.

    ``reflectance``: texture of the albedo, *doubled* if there is a lobe: the sum is an even blend of doubled parts.
    """
    diffuse = {"type": "diffuse", "reflectance": dict(reflectance)}
    if alpha is None:
        return diffuse
    lobe = {"type": "roughconductor", "distribution": "ggx", "alpha": alpha, "eta": eta, "k": 0.0}
    lobe["specular_reflectance"] = 2.0
    return {"type": "blendbsdf", "weight": 0.5, "diffuse": diffuse, "specular": lobe}


def bitmap(values_hwc: Floats) -> Mapping[str, Any]:
    """A texture of linear values, one or three channels."""
    values = np.ascontiguousarray(values_hwc, np.float32)
    return {"type": "bitmap", "bitmap": load().Bitmap(values), "raw": True, "wrap_mode": "clamp"}


def trace(
    shape: Any, environment_hw3: Floats, eye: Floats, target: Floats, field_of_view: float, size: int, samples: int,
    max_depth: int = 6,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:  # fmt: skip
    """A square picture (size, size, 3) of a shape, and a mask (size, size) of the pixels that it covers fully.

    ``field_of_view`` in degrees; see :func:`render_scene`.
    """
    look = {"origin": [float(x) for x in eye], "target": [float(x) for x in target], "up": [0.0, 1.0, 0.0]}
    view = {"fov": field_of_view, "to_world": load().ScalarTransform4f().look_at(**look)}
    picture = render_scene({"shape": shape}, environment_hw3, view, size, samples, max_depth)
    return picture[..., :3], picture[..., 3] > 1 - 1e-6


def render_scene(
    shapes: Mapping[str, Any], environment_hw3: Floats, view: Mapping[str, Any], size: int, samples: int,
    max_depth: int = 6, seed: int = 0,
) -> NDArray[np.float32]:  # fmt: skip
    """Render named shapes under an environment map: a square picture (size, size, 4), colour x coverage and coverage.

    The environment map follows docs/architecture.md. Mitsuba differs in the rows only: its first and last row are the
    poles. ``view``: parameters of Mitsuba's perspective camera. ``max_depth``: most segments of a path,
    counted from the camera: 2 is direct light alone, each further one adds a bounce. Pixels are box filtered.
    """
    mi = load()
    between = np.concatenate([environment_hw3[:1], environment_hw3, environment_hw3[-1:]])
    rows = np.empty((2 * len(environment_hw3) + 1, *environment_hw3.shape[1:]), np.float32)
    rows[0::2], rows[1::2] = (between[1:] + between[:-1]) / 2, environment_hw3
    scene = mi.load_dict({
        "type": "scene",
        "integrator": {"type": "path", "max_depth": max_depth, "hide_emitters": True},
        "light": {"type": "envmap", "bitmap": mi.Bitmap(rows)},
        "camera": {
            "type": "perspective",
            "near_clip": 1.0,
            "far_clip": 1e5,
            **view,
            "film": {
                "type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgba", "component_format": "float32",
                "rfilter": {"type": "box"},
            },
            "sampler": {"type": "multijitter", "sample_count": samples, "seed": seed},
        },
        **shapes,
    })  # fmt: skip
    return _mended(np.array(mi.render(scene, seed=seed), np.float32))


def _mended(picture_hwc: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace non-finite pixels, which single paths cause now and then, by the median of their neighbours."""
    spoilt = np.asarray(~np.isfinite(picture_hwc).all(-1))
    if spoilt.any():
        known = np.pad(np.where(spoilt[..., None], np.nan, picture_hwc), ((1, 1), (1, 1), (0, 0)), mode="edge")
        around = np.lib.stride_tricks.sliding_window_view(known, (3, 3), (0, 1))[spoilt]
        picture_hwc = picture_hwc.copy()
        picture_hwc[spoilt] = np.nanmedian(around, (-2, -1))
    return picture_hwc


def field_of_view(size: int, focal: float) -> float:
    """Angle in degrees that ``size`` pixels span at a focal length in pixels."""
    return math.degrees(2 * math.atan(size / 2 / focal))
