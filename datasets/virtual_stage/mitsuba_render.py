"""Render a subject by path tracing: true shadows, light from skin to skin, sharp reflections in the eyes.

Shapes and maps are the same as in :mod:`render`, so that its mask and depths are valid here too. Linear RGB.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import lights, path_tracer
from mosar.datasets.virtual_stage.accessories import SPECULAR
from mosar.datasets.virtual_stage.geometry import CLOTH, FRAME, HAIR, HAND, Prop
from mosar.datasets.virtual_stage.render import EYES, HAIR_SHEEN, MOUTH, Scene, eyes_and_mouth
from mosar.datasets.virtual_stage.uv_regions import Atlas, smoothstep
from mosar.models.camera import Camera
from mosar.models.head import Head
from mosar.models.shading import RELIEF, SHARPNESS

SAMPLES = 64
"""Paths per pixel."""

Floats = NDArray[np.floating]
_WET = {"type": "roughplastic", "int_ior": 1.376}
_MAX_DEPTH = 4  # three bounces
_WINDOW = math.pi**2 / 288
"""Variance that the window of the nine bands (:func:`mosar.models.shading.sh.window`) adds to a lobe."""
_ALPHA = 1 / (2 / (1 / (SHARPNESS + 2) + _WINDOW) - 3) ** 0.5
"""GGX alpha whose highlight is as wide as the model's: a Phong lobe of variance 1 / (SHARPNESS + 2), windowed.

So the networks see highlights that nine bands can reproduce. The lobe without the window looks wet under small lamps.
"""
_FIREFLY = 12.0
"""Pixels are clipped at this multiple of the subject's median: rare bright paths do not average out in few samples."""


def path_trace_view(
    head: Head,
    scene: Scene,
    a: Atlas,
    normal_hw3: Floats,
    camera: Camera,
    light: lights.EnvironmentLight,
    background_hw3: NDArray[np.float32],
    samples: int = SAMPLES,
) -> NDArray[np.float32]:
    """The picture (H, W, 3) in front of a square background. ``normal_hw3``: tangent-space normals of the skin.

    Raises:
        ConfigError: Mitsuba is not installed.
    """
    shapes = _head(head, scene, a, normal_hw3)
    for number, part in enumerate(scene.accessories.parts):
        shapes[f"part{number}"] = _thing(part)
    size = len(background_hw3)
    around = lights.environment(light)
    picture = path_tracer.render_scene(shapes, around, _view(camera, size), size, samples, _MAX_DEPTH)
    colour, alpha = picture[..., :3], picture[..., 3:]
    level = float(np.median(colour[alpha[..., 0] > 0.9])) if (alpha > 0.9).any() else 1.0
    return np.minimum(colour, _FIREFLY * max(level, 0.05)) + background_hw3 * (1 - alpha)


def _head(head: Head, scene: Scene, a: Atlas, normal_hw3: Floats) -> dict[str, Any]:
    """Meshes of skin (with the painted clothes), eyes and mouth, by name."""
    vertices, normals = scene.vertices_v3.numpy(), scene.normals_v3.numpy()
    corner_w = np.zeros(len(head.uv_w2), np.int64)
    corner_w[head.uv_triangles_f3.ravel()] = head.triangles_f3.ravel()
    eyes, mouth = (eyes_and_mouth(head, i, scene.iris)[0].permute(1, 2, 0).numpy() for i in (EYES, MOUTH))
    surfaces = {
        0: _skin(scene, a, normal_hw3),
        EYES: {
            "type": "roughplastic",
            "alpha": 0.04,
            "int_ior": 1.376,
            "diffuse_reflectance": path_tracer.bitmap(eyes),
        },
        MOUTH: {"type": "roughplastic", "alpha": 0.15, "diffuse_reflectance": path_tracer.bitmap(mouth)},
    }
    shapes = {}
    for material, surface in surfaces.items():
        faces = head.uv_triangles_f3[head.material_f == material]
        used, flat = np.unique(faces, return_inverse=True)
        place = corner_w[used]
        shapes[f"head{material}"] = path_tracer.mesh(
            vertices[place], flat.reshape(-1, 3), normals[place], np.zeros((len(place), 3)), surface, head.uv_w2[used]
        )
    return shapes


def _skin(scene: Scene, a: Atlas, normal_hw3: Floats) -> Mapping[str, Any]:
    texels = scene.texels_1chw[0].permute(1, 2, 0).numpy()
    diffuse, specular = texels[..., :3] * texels[..., 4:5], texels[..., 3:4]
    collar = scene.accessories.collar
    worn = a.map(smoothstep(-0.7, 0.7, collar.below(a.position_n3) / a.texel_n))[..., None]
    cloth = a.map(collar.weave(a.position_n3))
    diffuse, specular = diffuse + worn * (cloth - diffuse), specular + worn * (SPECULAR[CLOTH] - specular)
    bent = normal_hw3 + worn * (np.array([0, 0, 1.0]) - normal_hw3)
    soft = np.array([0, 0, 1 - RELIEF]) + RELIEF * bent
    soft /= np.linalg.norm(soft, axis=-1, keepdims=True)
    coat = path_tracer.skin(path_tracer.bitmap(2 * diffuse), _ALPHA)
    lobe = {**coat["specular"], "specular_reflectance": path_tracer.bitmap(np.repeat(2 / 0.35 * specular, 3, -1))}
    return {**coat, "diffuse": _bent(soft, coat["diffuse"]), "specular": _bent(bent, lobe)}


def _bent(normal_hw3: Floats, surface: Any) -> Mapping[str, Any]:
    return {"type": "normalmap", "normalmap": path_tracer.bitmap(0.5 + 0.5 * normal_hw3), "bsdf": surface}


def _thing(part: Prop) -> Any:
    colour = {"type": "mesh_attribute", "name": "vertex_colour"}
    alpha = {HAND: _ALPHA, HAIR: _ALPHA, FRAME: 0.1}.get(part.material)
    surface = dict(path_tracer.skin(colour, alpha))
    if part.material == HAIR:
        surface["specular"] |= {"specular_reflectance": 2 * HAIR_SHEEN}
    albedo = part.albedo_x3 * (2.0 if alpha else 1.0)
    both = {"type": "twosided", "bsdf": surface}
    return path_tracer.mesh(part.vertices_x3, part.triangles_g3, part.normals_x3, albedo, both)


def _view(camera: Camera, size: int) -> Mapping[str, Any]:
    """Mitsuba's camera: x left, y up, z forward; principal point offsets as shares of the picture."""
    k, r, t = (x[0].double().numpy() for x in (camera.intrinsics_b33, camera.rotation_b33, camera.translation_b3))
    pose = np.eye(4)
    pose[:3, :3] = r.T @ np.diag([-1.0, -1, 1])
    pose[:3, 3] = -r.T @ t
    return {
        "fov": path_tracer.field_of_view(size, float(k[0, 0])),
        "to_world": path_tracer.load().ScalarTransform4f(pose.tolist()),
        "principal_point_offset_x": float(0.5 - k[0, 2] / size),
        "principal_point_offset_y": float(0.5 - k[1, 2] / size),
    }
