"""A capture: one picture of a subject with an expression under a light, with all maps, as a sample in memory."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import crop, lights, portrait_statistics, schema
from mosar.datasets.landmark_visibility import hide_covered
from mosar.datasets.virtual_stage import gaze, mitsuba_render, skin
from mosar.datasets.virtual_stage.accessories import add_accessories
from mosar.datasets.virtual_stage.geometry import Body
from mosar.datasets.virtual_stage.hair import veil
from mosar.datasets.virtual_stage.quantize import POINT_BITS, UNIT_BITS, quantize
from mosar.datasets.virtual_stage.render import Scene, backdrop, render_view
from mosar.datasets.virtual_stage.renderers import Renderer
from mosar.datasets.virtual_stage.subjects import Subject, sample_expression
from mosar.datasets.virtual_stage.uv_regions import Atlas, atlas
from mosar.models.camera import Camera, position, project, to_camera, transform_image
from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head, occlusion
from mosar.models.head.expression_model import express
from mosar.models.head.morph import landmarks, vertex_normals
from mosar.models.head.morph import neutral as neutral_shape
from mosar.models.uv import chart, interpolate, surface, to_world

Metering = Literal["incident", "mean", "spot"]
_AT_CAMERA = 0.8
"""Share of the captures that look at the camera, as far as the eyes turn."""
_LIT_AS_PORTRAIT = 0.7
"""Share of the captures drawn from portraits that also have a portrait's light."""


@dataclass(frozen=True, eq=False)
class VirtualStage:
    """Settings of the light stage: head, side of maps and picture in pixels, names of its lights, renderer.

    ``portraits``: share of the captures whose expression, pose and light are drawn from statistics of real portraits.
    ``metering``: ways of exposing a picture, one of which is drawn (:func:`_exposure`).
    """

    head: Head
    map_size: int
    image_size: int
    lights: Sequence[str]
    renderer: Renderer = "fast"
    portraits: float = 0.6
    metering: tuple[Metering, ...] = ("incident", "mean", "spot")


@torch.no_grad()
def capture(
    stage: VirtualStage,
    subject: Subject,
    painted: skin.PaintedSkin,
    seed: int,
    detail_v3: NDArray[np.float64] | None = None,
    yaw: float | None = None,
) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """The sample (see :mod:`mosar.datasets.schema`) of a person, and its picture in linear RGB (H, W, 3).

    What the detector sees is not in it yet: :func:`mosar.datasets.detection.observe` adds it.
    ``seed`` decides expression, camera, light and background. ``painted``: the person's skin, shared by all captures.
    ``detail_v3``: offsets of the neutral face, mm. ``yaw``: turns the camera to this side of the face, in degrees (to
    the subject's left); captures that differ in it alone show one expression under one light.
    """
    rng = np.random.default_rng([subject.seed, seed])
    head, a = stage.head, atlas(stage.head, stage.map_size)
    found = portrait_statistics.load() if rng.random() < stage.portraits else None
    pose = _pose(rng, found, yaw)
    expression = sample_expression(head, rng) if found is None else found.expression(head.expression_names, rng)
    if rng.random() < _AT_CAMERA:
        expression = gaze.look_at(head, expression, pose.eye_3, rng)
    expression = np.asarray(expression, np.float64).round(4)
    neutral, mesh = _meshes(head, subject, expression, detail_v3)
    normals = _rounded(vertex_normals(mesh[None], torch.tensor(head.triangles_f3))[0], UNIT_BITS)
    seen = occlusion.visibility(head, mesh.numpy(), normals.numpy())
    named = {n: float(w) for n, w in zip(head.expression_names, expression, strict=True)}
    height = painted.height_n + skin.expression_relief(a, subject, named)
    maps, texels, drawn_normal = _maps(stage, a, painted, height, mesh, normals, seen)

    exposure = _exposure(rng, stage.metering, skin.brightness(subject))
    low = found.low_light(rng) if found is not None and rng.random() < _LIT_AS_PORTRAIT else None
    light = lights.random_light(rng, stage.lights, exposure, low_9=low)
    box = portrait_statistics.load().detected_box(rng) if stage.portraits else np.array([0, 0, 1.0])
    camera, points = _camera(pose, head, mesh, stage.image_size, box)
    shadow = occlusion.shadow(head, seen, light.sh_l3) * veil(subject, head.template_v3)
    body = Body(mesh.numpy(), normals.numpy(), shadow, position(camera)[0].numpy(), _fineness(stage))
    accessories = add_accessories(head, a, subject, body, rng)
    scene = Scene(
        vertices_v3=mesh,
        normals_v3=normals,
        texels_1chw=texels,
        shadow_v3=torch.from_numpy(shadow),
        openings_vk=torch.from_numpy(occlusion.openings(head, seen)),
        iris=subject.iris,
        accessories=accessories,
        classes_hw=a.map(painted.classes_n),
    )
    behind = backdrop(rng, light, camera, stage.image_size, 0.45 if found is None else 0.75)
    view = render_view(head, scene, camera, light, behind)
    depth_l = to_camera(camera, landmarks(head, mesh[None]))[0, :, 2].numpy()
    colour = view.colour_hw3
    if stage.renderer == "path":
        colour = mitsuba_render.path_trace_view(head, scene, a, drawn_normal, camera, light, behind)
    sample = {
        "mesh": mesh.float().numpy(),
        "neutral": neutral.float().numpy(),
        **maps,
        "image": display(colour),
        "mask": np.where(view.skin_hw > 0.5, 255, 0).astype(np.uint8),
        "classes": view.classes_hw,
        "landmarks": hide_covered(points, depth_l, view.depth_hw),
        "light": light.sh_l3,
        "camera": {
            "size": stage.image_size,
            "intrinsics": camera.intrinsics_b33[0].tolist(),
            "rotation": camera.rotation_b33[0].tolist(),
            "translation_mm": camera.translation_b3[0].tolist(),
        },
        "capture": {
            "subject": f"v{subject.seed}",
            "expression": named,
            "head_digest": head.digest,
            "light": light.name,
            "renderer": stage.renderer,
            "licence": "CC0-1.0",
            "age": round(subject.age),
            "tone": np.round(subject.tone, 3).tolist(),
        },
    }
    return sample, colour


def _fineness(stage: VirtualStage) -> float:
    """Share of the hairs that are drawn: all in pictures of 384 pixels and more, at least 30 % in smaller ones."""
    return float(np.clip(stage.image_size / 384, 0.3, 1))


def display(linear_hw3: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Linear RGB as 8-bit sRGB, clipped."""
    encoded = to_srgb(torch.from_numpy(np.clip(linear_hw3, 0, 1).astype(np.float64))).numpy()
    return (encoded * 255 + 0.5).astype(np.uint8)


def _rounded(values: torch.Tensor, bits: int) -> torch.Tensor:
    return torch.from_numpy(quantize(values.numpy(), bits))


def _meshes(
    head: Head, subject: Subject, expression_e: NDArray[np.float64], detail_v3: NDArray[np.float64] | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Neutral mesh and mesh with the expression (V 3), mm: float64 values that float32 represents exactly."""
    archetype, mode = (torch.from_numpy(w).double()[None] for w in (subject.archetype_a, subject.mode_m))
    rest = neutral_shape(head, archetype, mode)
    if detail_v3 is not None:
        rest = rest + torch.from_numpy(detail_v3)
    both = torch.from_numpy(np.stack([np.zeros_like(expression_e), expression_e]))
    neutral, mesh = express(head, rest.expand(2, -1, -1), both)
    return _rounded(neutral, POINT_BITS), _rounded(mesh, POINT_BITS)


def _maps(
    stage: VirtualStage,
    a: Atlas,
    painted: skin.PaintedSkin,
    height_n: NDArray[np.float32],
    mesh: torch.Tensor,
    normals: torch.Tensor,
    seen: occlusion.Visibility,
) -> tuple[dict[str, NDArray[Any]], torch.Tensor, NDArray[np.float64]]:
    """The five maps as stored in a sample, the renderer's texels (see :class:`Scene`), and its tangent normals.

    The renderers draw the quantised maps, so that the picture agrees with the stored ones.
    """
    head, texels = stage.head, chart(stage.head, stage.map_size)
    triangles = torch.tensor(head.triangles_f3)
    thick = occlusion.thickness(head, mesh.numpy(), normals.numpy())
    open_v = torch.from_numpy(np.stack([occlusion.openness(head, seen), thick], 1))
    opened, depth = interpolate(texels, triangles, open_v[None].double())[0].flatten(1).numpy()[:, a.inside_n]
    cavity = skin.cavity(a, height_n)
    on_mesh = surface(texels, head, mesh[None])
    normal = skin.tangent_normals(a, height_n, on_mesh.position_b3hw[0].permute(1, 2, 0).numpy())
    single = {
        "specular": painted.specular_n,
        "ao": np.clip(opened * cavity, 0, 1),
        "translucency": skin.translucency(a, depth),
    }
    eight = {name: (a.map(value) * 255 + 0.5).astype(np.uint8) for name, value in single.items()}
    maps: dict[str, NDArray[Any]] = {"diffuse": display(a.map(painted.diffuse_n3)), **eight, "normal": normal}
    hidden = np.maximum(a.areas["pocket"], painted.scalp_n * (painted.scalp_n > 0.4))
    drawn = schema.normal_words(normal) / 32767 - 32768 / 32767
    drawn /= np.sqrt((drawn**2).sum(-1, keepdims=True))
    world = to_world(on_mesh, torch.from_numpy(drawn).permute(2, 0, 1)[None])
    diffuse = to_linear(torch.from_numpy(maps["diffuse"]).double() / 255).numpy()
    flat = [maps["specular"] / 255, a.map(cavity), maps["translucency"] / 255]
    stacked = np.concatenate([diffuse, np.stack(flat, -1)], -1)
    parts = [torch.from_numpy(np.ascontiguousarray(stacked.transpose(2, 0, 1), np.float32))[None], world.float()]
    parts.append(torch.from_numpy(np.ascontiguousarray(a.map(hidden), np.float32))[None, None])
    return maps, torch.cat(parts, 1), drawn


def _exposure(rng: np.random.Generator, ways: Sequence[Metering], brightness: float) -> float:
    """Exposure (see :func:`mosar.datasets.lights.random_light`) by a way of metering, for skin of this luminance.

    ``incident`` measures the light alone: the picture shows how dark the skin is. ``mean`` measures the whole picture,
    of which the face is a part; ``spot`` the face, which becomes as bright as faces in portraits are, whatever its
    tone.
    """
    way = str(rng.choice(ways))
    if way == "incident":
        return float(np.exp(rng.normal(0.25, 0.3)))
    if way == "mean":
        return float(np.exp(rng.normal(0.4, 0.22)) * (0.2 / brightness) ** 0.35)
    mean, deviation = portrait_statistics.load().brightness
    return float(np.clip(np.exp(rng.normal(mean, deviation)) / brightness, 0.3, 4.0))


@dataclass(frozen=True, eq=False)
class _Pose:
    """Rotation (3, 3) and translation (3), mm, of a camera; ``eye_3``: its position in the head frame."""

    rotation_33: NDArray[np.float64]
    translation_3: NDArray[np.float64]
    eye_3: NDArray[np.float64]


def _pose(rng: np.random.Generator, found: portrait_statistics.PortraitStatistics | None, side: float | None) -> _Pose:
    """A random camera, or one as of portraits; ``side``: its yaw in degrees instead of a random one.

    Distances of 450 to 2500 mm give the perspective of 35 to 200 mm lenses. The face lies off the optical axis.
    """
    if found is None:
        turned = rng.uniform(-60, 60) if rng.random() < 0.3 else rng.normal(0, 16)
        degrees, nearest = [np.clip(turned, -60, 60), rng.normal(0, 8), rng.normal(0, 5)], 450
    else:
        degrees, nearest = list(found.angles(rng)), 900
    yaw, pitch, roll = np.deg2rad([degrees[0] if side is None else side, *degrees[1:]])
    distance = float(np.exp(rng.uniform(np.log(nearest), np.log(2500))))
    turn = cv2.Rodrigues(np.array([0, yaw, 0]))[0]
    turn = cv2.Rodrigues(np.array([0, 0, roll]))[0] @ cv2.Rodrigues(np.array([pitch, 0, 0]))[0] @ turn
    rotation = np.diag([1.0, -1, -1]) @ turn
    centre = np.array([0.0, -35.0, 0.0])
    aside = rng.normal(0, 0.07, 2) * distance
    translation = np.array([*aside, distance]) - rotation @ centre
    return _Pose(rotation.round(8), translation.round(5), -rotation.T @ translation)


def _camera(
    pose: _Pose, head: Head, mesh: torch.Tensor, size: int, box_3: NDArray[np.float64]
) -> tuple[Camera, NDArray[np.float32]]:
    """The camera (float64) of the face's crop, and the landmarks (478 3) in it, visibility 1 if embedded.

    ``box_3``: how a detector, whose points cut photographs, would see the box of the landmarks:
    :meth:`PortraitStatistics.detected_box`.
    """
    wide = Camera(
        torch.diag(torch.tensor([1000.0, 1000.0, 1.0])).double()[None],
        torch.from_numpy(pose.rotation_33)[None],
        torch.from_numpy(pose.translation_3)[None],
    )
    points = landmarks(head, mesh[None])
    marks = np.concatenate([project(wide, points)[0].numpy(), head.landmark_triangle_l[:, None] >= 0], 1)
    marks[marks[:, 2] == 0] = 0
    centre, side = crop.box(marks)
    seen = np.stack([centre + side * (box_3[:2] + box_3[2] * corner) for corner in (-0.5, 0.5)])
    affine = crop.face_crop(seen, size)
    close = transform_image(wide, torch.from_numpy(affine)[None])
    camera = dataclasses.replace(close, intrinsics_b33=torch.from_numpy(close.intrinsics_b33.numpy().round(5)))
    marks[:, :2] = project(camera, points)[0].numpy()
    marks[marks[:, 2] == 0] = 0
    return camera, marks.astype(np.float32)
