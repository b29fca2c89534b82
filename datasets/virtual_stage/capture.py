"""A capture: a subject in an expression, with all maps, seen once by a camera under a light, as a sample in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import crop, lights
from mosar.datasets.virtual_stage import occlusion, skin, traced
from mosar.datasets.virtual_stage.atlas import Atlas, atlas
from mosar.datasets.virtual_stage.extras import dress
from mosar.datasets.virtual_stage.hair import veil
from mosar.datasets.virtual_stage.people import Person, sample_expression
from mosar.datasets.virtual_stage.render import Subject, View, backdrop, render
from mosar.datasets.virtual_stage.renderers import Renderer
from mosar.datasets.virtual_stage.things import Body
from mosar.models.camera import Camera, position, project, to_camera, transform_image
from mosar.models.colour import to_srgb
from mosar.models.head import Head
from mosar.models.head.morph import landmarks, shape, vertex_normals
from mosar.models.uv import chart, interpolate, surface, to_world

_HIDDEN_MM = 7.0
"""How far behind the nearest surface a landmark may lie and still be visible: it floats over the mesh a little."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The light stage's settings: head, side of the maps and of the picture in pixels, lights it may use, renderer."""

    head: Head
    map_size: int
    image_size: int
    lights: Sequence[str]
    renderer: Renderer = "fast"


@torch.no_grad()
def capture(stage: Stage, person: Person, painted: skin.Skin, seed: int) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """The sample (see :mod:`mosar.datasets.schema`) of a person, and its picture in linear RGB (H, W, 3).

    The seed decides expression, camera, light and background. ``painted``: the person's skin, shared by all captures.
    """
    rng = np.random.default_rng([person.seed, seed])
    head, a = stage.head, atlas(stage.head, stage.map_size)
    expression = sample_expression(head, rng)
    neutral, mesh = _meshes(head, person, expression)
    triangles = torch.tensor(head.triangles_f3)
    normals = vertex_normals(mesh[None], triangles)[0]
    seen = occlusion.visibility(head, mesh.numpy(), normals.numpy())
    maps, texels = _maps(stage, a, painted, mesh, normals, seen)

    exposure = float(np.exp(rng.normal(0.4, 0.22)) * (0.2 / skin.brightness(person)) ** 0.35)
    light = lights.random_light(rng, stage.lights, exposure)
    camera, points = _camera(rng, head, mesh, stage.image_size)
    shadow = occlusion.shadow(head, seen, light.sh_l3) * veil(person, head.template_v3)
    body = Body(mesh.numpy(), normals.numpy(), shadow, position(camera)[0].double().numpy(), _fineness(stage))
    extras = dress(head, a, person, body, rng)
    subject = Subject(mesh, texels, torch.from_numpy(shadow), person.iris, extras)
    behind = backdrop(rng, light, camera, stage.image_size)
    view = render(head, subject, camera, light, behind)
    colour = view.colour_hw3
    if stage.renderer == "path":
        colour = traced.render(head, subject, a, maps["normal"], camera, light, behind)
    sample = {
        "mesh": mesh.numpy(),
        "neutral": neutral.numpy(),
        **maps,
        "image": display(colour),
        "mask": np.where(view.skin_hw > 0.5, 255, 0).astype(np.uint8),
        "landmarks": _visible(head, mesh, camera, points, view),
        "light": light.sh_l3,
        "camera": {
            "size": stage.image_size,
            "intrinsics": camera.intrinsics_b33[0].double().numpy().round(5).tolist(),
            "rotation": camera.rotation_b33[0].double().numpy().round(8).tolist(),
            "translation_mm": camera.translation_b3[0].double().numpy().round(5).tolist(),
        },
        "capture": {
            "subject": f"v{person.seed}",
            "expression": {n: round(float(w), 4) for n, w in zip(head.expression_names, expression, strict=True)},
            "head_digest": head.digest,
            "light": light.name,
            "renderer": stage.renderer,
            "licence": "CC0-1.0",
            "age": round(person.age),
            "tone": np.round(person.tone, 3).tolist(),
        },
    }
    return sample, colour


def _fineness(stage: Stage) -> float:
    """Pictures of 384 pixels and more show every hair."""
    return float(np.clip(stage.image_size / 384, 0.3, 1))


def display(linear_hw3: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Linear RGB as 8-bit sRGB, clipped."""
    encoded = to_srgb(torch.from_numpy(np.clip(linear_hw3, 0, 1).astype(np.float32))).numpy()
    return (encoded * 255 + 0.5).astype(np.uint8)


def _meshes(head: Head, person: Person, expression_e: NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.from_numpy(person.archetype_a)[None], torch.from_numpy(person.mode_m)[None]
    both = torch.from_numpy(np.stack([np.zeros_like(expression_e), expression_e]))
    neutral, mesh = shape(head, weights[0].expand(2, -1), weights[1].expand(2, -1), both)
    return neutral.float(), mesh.float()


def _maps(
    stage: Stage,
    a: Atlas,
    painted: skin.Skin,
    mesh: torch.Tensor,
    normals: torch.Tensor,
    seen: occlusion.Visibility,
) -> tuple[dict[str, NDArray[Any]], torch.Tensor]:
    """The five maps as a sample holds them; and the renderer's texels (see :class:`Subject`)."""
    head, texels = stage.head, chart(stage.head, stage.map_size)
    triangles = torch.tensor(head.triangles_f3)
    thick = occlusion.thickness(head, mesh.numpy(), normals.numpy())
    open_v = torch.from_numpy(np.stack([occlusion.openness(head, seen), thick], 1))
    opened, depth = interpolate(texels, triangles, open_v[None])[0].flatten(1).numpy()[:, a.inside_n]
    cavity = skin.cavity(a, painted.height_n)
    on_mesh = surface(texels, head, mesh[None])
    normal = skin.tangent_normals(a, painted.height_n, on_mesh.position_b3hw[0].permute(1, 2, 0).numpy())
    single = {
        "specular": painted.specular_n,
        "ao": np.clip(opened * cavity, 0, 1),
        "translucency": skin.translucency(a, depth),
    }
    eight = {name: (a.map(value) * 255 + 0.5).astype(np.uint8) for name, value in single.items()}
    maps: dict[str, NDArray[Any]] = {"diffuse": display(a.map(painted.diffuse_n3)), **eight, "normal": normal}
    hidden = np.maximum(a.areas["pocket"], painted.scalp_n * (painted.scalp_n > 0.4))
    world = to_world(on_mesh, torch.from_numpy(normal).permute(2, 0, 1)[None])
    flat = [painted.specular_n, cavity, single["translucency"]]
    stacked = np.concatenate([a.map(painted.diffuse_n3), np.stack([a.map(v) for v in flat], -1)], -1)
    parts = [torch.from_numpy(np.ascontiguousarray(stacked.transpose(2, 0, 1), np.float32))[None], world.float()]
    parts.append(torch.from_numpy(np.ascontiguousarray(a.map(hidden), np.float32))[None, None])
    return maps, torch.cat(parts, 1)


def _camera(rng: np.random.Generator, head: Head, mesh: torch.Tensor, size: int) -> tuple[Camera, NDArray[np.float32]]:
    """A camera that sees the face's crop, and the landmarks (478 3) in it, visibility 1 for all that are embedded.

    From 35 mm selfies to 200 mm portraits: the distance decides perspective. The face is off the optical axis.
    """
    turned = rng.uniform(-60, 60) if rng.random() < 0.3 else rng.normal(0, 16)
    yaw, pitch, roll = np.deg2rad([np.clip(turned, -60, 60), rng.normal(0, 8), rng.normal(0, 5)])
    distance = float(np.exp(rng.uniform(np.log(450), np.log(2500))))
    turn = cv2.Rodrigues(np.array([0, yaw, 0]))[0]
    turn = cv2.Rodrigues(np.array([0, 0, roll]))[0] @ cv2.Rodrigues(np.array([pitch, 0, 0]))[0] @ turn
    rotation = np.diag([1.0, -1, -1]) @ turn
    centre = np.array([0.0, -35.0, 0.0])
    aside = rng.normal(0, 0.07, 2) * distance
    translation = np.array([*aside, distance]) - rotation @ centre
    wide = Camera(
        torch.diag(torch.tensor([1000.0, 1000.0, 1.0]))[None],
        torch.from_numpy(rotation).float()[None],
        torch.from_numpy(translation).float()[None],
    )
    points = landmarks(head, mesh[None])
    marks = np.concatenate([project(wide, points)[0].numpy(), head.landmark_triangle_l[:, None] >= 0], 1)
    marks[marks[:, 2] == 0] = 0
    affine = crop.face_crop(marks, size)
    camera = transform_image(wide, torch.from_numpy(affine).float()[None])
    return camera, crop.transform_points(marks, affine)


def _visible(
    head: Head, mesh: torch.Tensor, camera: Camera, points_l3: NDArray[np.float32], view: View
) -> NDArray[np.float32]:
    """Landmarks with visibility 0.5 where something is nearer to the camera, or the crop ends."""
    depth = to_camera(camera, landmarks(head, mesh[None]))[0, :, 2].numpy()
    size = view.depth_hw.shape[0]
    column, row = (np.floor(points_l3[:, :2]).astype(int)).T
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    nearest = view.depth_hw[row.clip(0, size - 1), column.clip(0, size - 1)]
    found = points_l3.copy()
    found[(found[:, 2] > 0) & ~(inside & (depth < nearest + _HIDDEN_MM)), 2] = 0.5
    return found.astype(np.float32)
