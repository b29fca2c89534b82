"""Embed the detector's 478 points on a head, from renders of many people, expressions and views.

A point is embedded at the surface position whose projections lie closest to the detected points over all renders: first
the best vertices are searched, then the best position on the triangles around them.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.datasets import skin_mask
from mosar.datasets.head_building.region_labels import openness
from mosar.datasets.landmarks import Detector
from mosar.datasets.polygons import inside
from mosar.errors import DataError
from mosar.models.camera import FACING, Camera, project
from mosar.models.camera import views as camera_views
from mosar.models.colour import to_linear, to_srgb
from mosar.models.face_outlines import LANDMARKS
from mosar.models.head import Head, landmarks, sample_identity, shape, vertex_normals
from mosar.models.rasterizer import Covered, covered, gather, rasterize, scatter

Array = npt.NDArray[np.float64]

SIZE = 384
_DISTANCE, _FILLED = 900.0, 0.9  # camera distance in mm; share of the picture's height that the head fills
_IRIS = np.arange(468, 478)
# The outline of the face slides over the surface with the view: only frontal views decide where it is embedded.
_OUTLINE = np.isin(np.arange(LANDMARKS), skin_mask.OVAL)
_FRONTAL = np.deg2rad(20)
# Standard deviation and limit of yaw and pitch, radians: beyond the limit the detector guesses.
_TURNS, _TURN_LIMIT = torch.tensor([0.3, 0.15]), 0.7
_CLIP_MM = 4.0
_FEW, _CLOSER = 32, 600  # views and vertices of a coarse search


@dataclasses.dataclass(frozen=True)
class LandmarkViews:
    """Renders in which the detector found the face.

    Attributes:
        vertices_bv3: mm, head frame.
        camera: B cameras of SIZE x SIZE pictures.
        points_bl2: detected points, px.
        yaw_b: radians, 0 is frontal.
        person_b: number of the person; a person has the same expression in all renders.
        images_bhw3: the renders, sRGB.
        missed: number of renders in which no face was found.
    """

    vertices_bv3: Tensor
    camera: Camera
    points_bl2: Array
    yaw_b: Array
    person_b: npt.NDArray[np.int64]
    images_bhw3: npt.NDArray[np.uint8]
    missed: int


@dataclasses.dataclass(frozen=True)
class Embedding:
    """Triangle (478), barycentrics (478 3), and spread (478, mm): the median distance to the detected points."""

    triangle_l: npt.NDArray[np.int64]
    barycentric_l3: npt.NDArray[np.float32]
    spread_l: npt.NDArray[np.float32]

    def fields(self, limit_mm: float = 3.0) -> dict[str, Any]:
        """As fields of a head; points with a spread above ``limit_mm`` are left out, and the weight falls with it."""
        kept = self.spread_l <= limit_mm
        return {
            "landmark_triangle_l": np.where(kept, self.triangle_l, -1),
            "landmark_barycentric_l3": self.barycentric_l3 * kept[:, None],
            "landmark_weight_l": (kept / (1 + np.where(kept, self.spread_l, 0) ** 2)).astype(np.float32),
        }


def detect_views(head: Head, people: int, seed: int, views_each: int = 1) -> LandmarkViews:
    """Render random people with expressions from random views, and run the detector on each picture.

    Raises:
        DataError: no face was found in any render.
    """
    generator = torch.Generator().manual_seed(seed)
    kept: list[tuple[Tensor, Camera, Array, float, int, npt.NDArray[np.uint8]]] = []
    with Detector(max_faces=1) as detector:
        for person in range(people):
            vertices_1v3 = _person(head, person, generator)
            for turn in torch.randn(views_each, 2, generator=generator) * _TURNS:
                yaw, pitch = turn.clamp(-_TURN_LIMIT, _TURN_LIMIT).tolist()
                camera = view(head, yaw, pitch)
                image = render_grey_view(head, vertices_1v3, camera, generator)
                if faces := detector.detect(image):
                    points = faces[0].landmarks[:, :2].astype(np.float64)
                    kept.append((vertices_1v3, camera, points, yaw, person, image))
    if not kept:
        raise DataError(
            f"head {head.name!r}: no face was found in {people * views_each} renders; expected a face that looks "
            "along +z, +y up, in mm"
        )
    vertices, cameras, points_bl2, yaws, persons, images = zip(*kept, strict=True)
    camera = Camera(
        torch.cat([c.intrinsics_b33 for c in cameras]),
        torch.cat([c.rotation_b33 for c in cameras]),
        torch.cat([c.translation_b3 for c in cameras]),
    )
    return LandmarkViews(
        torch.cat(vertices),
        camera,
        np.stack(points_bl2),
        np.array(yaws),
        np.array(persons),
        np.stack(images),
        people * views_each - len(kept),
    )


def embed(head: Head, views: LandmarkViews) -> Embedding:
    """The position of each of the detector's points on the surface, and its spread."""
    projected_bv2, scale_bv = _projected(views, views.vertices_bv3)
    facing_bv = _facing(head, views)
    candidates = {m: np.unique(head.triangles_f3[head.material_f == m]) for m in (0, 1)}
    around = _triangles_around(head)
    frontal = np.abs(views.yaw_b) < _FRONTAL
    every_view = (projected_bv2, scale_bv, facing_bv)
    frontal_views = (projected_bv2[frontal], scale_bv[frontal], np.ones_like(facing_bv[frontal]))
    triangle_l, barycentric_l3 = np.zeros(LANDMARKS, np.int64), np.zeros((LANDMARKS, 3), np.float32)
    spread_l = np.zeros(LANDMARKS, np.float32)
    for point in range(LANDMARKS):
        # Eyeballs move under the lids, so only the iris points are embedded on them.
        of_v = candidates[1 if point in _IRIS and len(candidates[1]) else 0]
        seen_at = frontal_views if _OUTLINE[point] else every_view
        seen_b2 = views.points_bl2[frontal if _OUTLINE[point] else slice(None), point]
        if len(of_v) > _CLOSER:  # a few views tell which vertices are worth looking at in all
            cost_v = _cost(seen_b2[:_FEW], *(x[:_FEW, of_v] for x in seen_at))
            of_v = of_v[np.argsort(cost_v)[:_CLOSER]]
        cost_v = _cost(seen_b2, *(x[:, of_v] for x in seen_at))
        triangles = np.unique(np.concatenate([around[v] for v in of_v[np.argsort(cost_v)[:6]]]))
        place_n3, triangle_n = np.tile(_grid(6), (len(triangles), 1)), np.repeat(triangles, len(_grid(6)))
        for _ in range(2):
            on_n3 = head.triangles_f3[triangle_n]
            places = tuple(np.einsum("bnc...,nc->bn...", x[:, on_n3], place_n3) for x in seen_at)
            best = int(np.argmin(_cost(seen_b2, *places)))
            triangle, place = triangle_n[best], place_n3[best]
            found_b2, scale_b, facing_b = (x[:, best] for x in places)
            place_n3 = _near(place)
            triangle_n = np.full(len(place_n3), triangle)
        distance_b = np.linalg.norm(found_b2 - seen_b2, axis=-1) * scale_b
        spread_l[point] = np.median(distance_b[facing_b > FACING]) if (facing_b > FACING).any() else np.inf
        triangle_l[point], barycentric_l3[point] = triangle, place
    return Embedding(triangle_l, barycentric_l3, spread_l)


def _triangles_around(head: Head) -> list[npt.NDArray[np.int64]]:
    """The triangles of every vertex."""
    order = np.argsort(head.triangles_f3.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(head.triangles_f3.ravel(), minlength=len(head.template_v3)))
    return np.split(order // 3, ends[:-1])


def residuals(head: Head, views: LandmarkViews) -> Array:
    """Detected point minus projected embedded point (B 478 2), in mm in the image plane at the point's depth.

    NaN where a point is not embedded, faces away from the camera, or is on the outline of a face that is not frontal.
    """
    projected_bl2, scale_bl = _projected(views, landmarks(head, views.vertices_bv3))
    residual_bl2 = (views.points_bl2 - projected_bl2) * scale_bl[..., None]
    facing_bl3 = _facing(head, views)[:, head.triangles_f3[head.landmark_triangle_l]]
    facing_bl = (facing_bl3 * head.landmark_barycentric_l3).sum(-1)
    frontal_b1 = (np.abs(views.yaw_b) < _FRONTAL)[:, None]
    counted_bl = np.where(_OUTLINE, frontal_b1, facing_bl > FACING) & (head.landmark_triangle_l >= 0)
    return np.where(counted_bl[..., None], residual_bl2, np.nan)


def view(head: Head, yaw: float, pitch: float) -> Camera:
    """A camera that looks at the face; ``yaw`` > 0 shows more of the left side, ``pitch`` > 0 looks from above."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    rotation = torch.tensor(np.diag([1.0, -1.0, -1.0]) @ turn, dtype=torch.float32)
    low, high = head.template_v3.min(0), head.template_v3.max(0)
    centre = torch.tensor((low + high) / 2 * [0, 1, 1], dtype=torch.float32)
    focal = _FILLED * SIZE * _DISTANCE / float(high[1] - low[1])
    translation = torch.tensor([0.0, 0.0, _DISTANCE]) - rotation @ centre
    intrinsics = torch.tensor([[focal, 0, SIZE / 2], [0, focal, SIZE / 2], [0, 0, 1]])
    return Camera(intrinsics[None], rotation[None], translation[None])


def render_grey_view(
    head: Head,
    vertices_1v3: Tensor,
    camera: Camera,
    generator: torch.Generator | None = None,
    skin_hw3: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """A plain sRGB picture (SIZE SIZE 3) under one soft lamp from the front; a generator varies lamp and hair.

    Args:
        skin_hw3: sRGB map of the skin that replaces the painted skin, hair, brows and lips.
    """
    triangles_f3 = torch.from_numpy(np.array(head.triangles_f3))
    pixels = covered(rasterize(vertices_1v3, triangles_f3, camera, (SIZE, SIZE)), len(triangles_f3))
    normal_n3 = torch.nn.functional.normalize(gather(pixels, triangles_f3, vertex_normals(vertices_1v3, triangles_f3)))
    x, y, dark = (0.0, 0.0, 0.5) if generator is None else torch.rand(3, generator=generator).tolist()
    if generator is not None:
        x, y = 1.5 * x - 0.75, y - 0.5
    lamp = torch.nn.functional.normalize(torch.tensor([x, 0.4 + y, 0.9]), dim=0)
    cosine_n = normal_n3 @ lamp
    albedo_n3 = (
        _painted(head, pixels, torch.tensor([0.16, 0.10, 0.07]) * (1.2 - dark))
        if skin_hw3 is None
        else torch.zeros_like(normal_n3)
    )
    maps = {0: skin_hw3} if skin_hw3 is not None else {}
    for material, map_hw3 in (maps | {1: head.eyes_albedo_hw3, 2: head.mouth_albedo_hw3}).items():
        _wear(head, pixels, material, map_hw3, albedo_n3)
    shaded_n3 = albedo_n3 * (0.25 + 0.27 * cosine_n + 0.63 * cosine_n.clamp(min=0))[:, None].clamp(min=0.1)
    image = scatter(pixels, shaded_n3, (1, SIZE, SIZE), background=0.2)[0].permute(1, 2, 0)
    return (to_srgb(image.clamp(0, 1)) * 255).round().to(torch.uint8).numpy()


def _painted(head: Head, pixels: Covered, hair: Tensor) -> Tensor:
    """Linear albedo (N 3) by which the detector recognises a bare head as a face: hair on scalp and brows, lips."""
    names = set(head.region_names)
    triangles_f3 = torch.from_numpy(np.array(head.triangles_f3))
    template_n3 = gather(pixels, triangles_f3, torch.from_numpy(np.array(head.template_v3))[None]).double().numpy()
    albedo_n3 = torch.tensor([0.45, 0.27, 0.19]) * gather(pixels, triangles_f3, _occlusion(head))
    for name, colour in (("lips", torch.tensor([0.36, 0.17, 0.14])), ("scalp", hair)):
        if name in names:
            mask_v1 = torch.from_numpy(head.region(name).astype(np.float32))[:, None]
            cover_n1 = ((gather(pixels, triangles_f3, mask_v1[None]) - 0.3) / 0.4).clamp(0, 1)
            albedo_n3 = torch.lerp(albedo_n3, colour.expand_as(albedo_n3), cover_n1)
    corners_l33 = head.template_v3[head.triangles_f3[head.landmark_triangle_l]].astype(np.float64)
    points_l3 = (corners_l33 * head.landmark_barycentric_l3[..., None]).sum(1)
    for outline in (skin_mask.LEFT_BROW, skin_mask.RIGHT_BROW):
        known = [i for i in outline if head.landmark_triangle_l[i] >= 0]
        if len(known) >= 3:
            front = template_n3[:, 2] > points_l3[known, 2].min() - 10
            albedo_n3[torch.from_numpy(front & inside(template_n3[:, :2], points_l3[known][:, :2]))] = hair
    return albedo_n3


@functools.lru_cache(maxsize=2)
def _occlusion(head: Head) -> Tensor:
    """Ambient light (1 V 1) on the template: dark between the lips, in the nostrils and under the lids."""
    open_v = openness(head.template_v3.astype(np.float64), head.triangles_f3, rays=32)
    return torch.from_numpy(open_v).float().sqrt()[None, :, None]


def _wear(head: Head, pixels: Covered, material: int, map_hw3: npt.NDArray[np.uint8], albedo_n3: Tensor) -> None:
    """Write the linear albedo of an sRGB map (nearest texel) to the pixels of a material, in place."""
    triangle_n, weights_n3 = pixels.triangle_n.numpy(), pixels.barycentric_n3.numpy()
    chosen = head.material_f[triangle_n] == material
    places = head.uv_w2[head.uv_triangles_f3[triangle_n[chosen]]]
    places = (places * weights_n3[chosen][..., None]).sum(1)
    height, width = map_hw3.shape[:2]
    rows = np.clip(((1 - places[:, 1]) * height).astype(int), 0, height - 1)
    columns = np.clip((places[:, 0] * width).astype(int), 0, width - 1)
    albedo_n3[torch.from_numpy(chosen)] = to_linear(torch.from_numpy(map_hw3[rows, columns] / 255.0)).float()


def _person(head: Head, index: int, generator: torch.Generator) -> Tensor:
    """Vertices (1 V 3) of a random person: neutral for every third index, else with up to three expressions."""
    identity = sample_identity(head, generator)
    expression_e = torch.zeros(len(head.expression_names))
    if index % 3 and head.expression_names:
        chosen = torch.randint(len(expression_e), (1 + index % 3,), generator=generator)
        expression_e[chosen] = torch.rand(len(chosen), generator=generator) * 0.8
        if {"jawOpen", "mouthClose"} <= set(head.expression_names):
            # mouthClose needs an open jaw: otherwise the lips cross
            close, jaw = (head.expression_names.index(name) for name in ("mouthClose", "jawOpen"))
            expression_e[jaw] = torch.maximum(expression_e[jaw], expression_e[close])
    return shape(head, identity.archetype_a[None], identity.mode_m[None], expression_e[None])


def _projected(views: LandmarkViews, points_bn3: Tensor) -> tuple[Array, Array]:
    """Projections in pixels (B N 2), and the mm per pixel at the point's depth (B N)."""
    camera = views.camera
    depth_bn = (points_bn3 @ camera.rotation_b33.transpose(1, 2) + camera.translation_b3[:, None])[..., 2]
    scale_bn = depth_bn / camera.intrinsics_b33[:, :1, 0]
    return project(camera, points_bn3).double().numpy(), scale_bn.double().numpy()


def _facing(head: Head, views: LandmarkViews) -> Array:
    """Cosine (B V), not negative, between the vertices' normals and the direction to the camera."""
    normals = vertex_normals(views.vertices_bv3, torch.from_numpy(np.array(head.triangles_f3)))
    to_camera = torch.nn.functional.normalize(camera_views(views.camera, views.vertices_bv3), dim=-1)
    return (normals * to_camera).sum(-1).clamp(min=0).double().numpy()


def _cost(seen_b2: Array, places_bn2: Array, scale_bn: Array, weight_bn: Array) -> Array:
    """Mean clipped distance (n) over the views that see a position; infinite if too few do."""
    distance_bn = np.minimum(np.linalg.norm(places_bn2 - seen_b2[:, None], axis=-1) * scale_bn, _CLIP_MM)
    total_n = weight_bn.sum(0)
    mean_n = (distance_bn * weight_bn).sum(0) / np.maximum(total_n, 1e-9)
    return np.where(total_n > 0.15 * len(seen_b2), mean_n, np.inf)


def _grid(steps: int) -> Array:
    return np.array([(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]) / steps


def _near(place_3: Array) -> Array:
    """Barycentrics (n 3) around a position at a sixth of the grid's spacing, the position itself first."""
    steps = np.array([(i, j) for i in range(-4, 5) for j in range(-4, 5)]) / 36
    near_n2 = np.concatenate([place_3[None, :2], place_3[:2] + steps])
    near_n3 = np.concatenate([near_n2, 1 - near_n2.sum(1, keepdims=True)], 1)
    return np.asarray(near_n3[(near_n3 >= -1e-9).all(1)].clip(min=0))
