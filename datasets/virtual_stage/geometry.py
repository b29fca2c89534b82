"""Meshes around a head on the virtual light stage: hairs as ribbons, bars, and general props."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.quantize import POINT_BITS, UNIT_BITS, quantize
from mosar.models.head.morph import vertex_normals

SKIN, HAIR, FRAME, CLOTH, HAND, FUZZ = 0, 16, 17, 18, 19, 20
"""Materials beside the head's own, which start at 0 (skin). ``FUZZ``: brows, lashes, beards; they count as skin."""

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Body:
    """The head that accessories are put on (V 3 each): points in mm and normals, both quantised, and shadows.

    ``shadow_v3``: share of the light that the head's own shadows let through, by colour channel. ``eye_3``: camera
    position. ``fineness``: share of the hairs that are drawn; fewer hairs are wider.
    """

    vertices_v3: NDArray[np.float64]
    normals_v3: NDArray[np.float64]
    shadow_v3: NDArray[np.float32]
    eye_3: NDArray[np.float64]
    fineness: float


@dataclass(frozen=True, eq=False)
class Prop:
    """A mesh of x points and g triangles, counter-clockwise seen from outside.

    ``albedo_x3`` linear; ``shadow_x3``: share of the light that reaches a point; ``rest_x3``: template positions.
    """

    vertices_x3: Floats
    triangles_g3: NDArray[np.int64]
    material: int
    albedo_x3: Floats
    shadow_x3: Floats
    rest_x3: Floats
    normals_x3: Floats
    strands: "Strands | None" = field(default=None)

    @classmethod
    def make(
        cls,
        vertices_x3: Floats,
        triangles_g3: NDArray[np.int64],
        material: int,
        albedo: Floats | float,
        shadow: Floats | float = 0.9,
        rest_x3: Floats | None = None,
    ) -> Self:
        """A prop with smooth normals, quantised; a single albedo or share of light applies to all points."""
        points = quantize(vertices_x3, POINT_BITS)
        normals = vertex_normals(torch.from_numpy(points)[None], torch.from_numpy(triangles_g3.astype(np.int64)))[0]
        albedo, shadow = (np.broadcast_to(np.asarray(x), points.shape) for x in (albedo, shadow))
        rest = points if rest_x3 is None else rest_x3
        exact = points.astype(np.float32), quantize(normals.numpy(), UNIT_BITS).astype(np.float32)
        return cls(exact[0], triangles_g3.astype(np.int64), material, albedo, shadow, rest, exact[1])

    @classmethod
    def none(cls) -> Self:
        empty = np.zeros((0, 3))
        return cls(empty, np.zeros((0, 3), np.int64), HAIR, empty, empty, empty, empty)

    @staticmethod
    def join(parts: "Sequence[Prop]") -> "Prop":
        """Join several meshes into one; it has the first one's material."""
        starts = np.cumsum([0, *[len(m.vertices_x3) for m in parts]])
        names = ("vertices_x3", "albedo_x3", "shadow_x3", "rest_x3", "normals_x3")
        triangles = np.concatenate([m.triangles_g3 + start for m, start in zip(parts, starts[:-1], strict=True)])
        points, albedo, shadow, rest, normals = (np.concatenate([getattr(m, name) for m in parts]) for name in names)
        return Prop(points, triangles, parts[0].material, albedo, shadow, rest, normals)


@dataclass(frozen=True, eq=False)
class Strands:
    """Hairs (s) as polylines of k points: mm, linear albedo at each point, share of light, width in mm.

    ``out_sk3``: unit vectors away from the head; normals are derived from them.
    """

    points_sk3: Floats
    albedo_sk3: Floats
    shadow_sk3: Floats
    out_sk3: Floats
    width_s: Floats
    material: int

    def ribbons(self, eye_3: Floats) -> Prop:
        """Ribbons that face the camera at ``eye_3``, narrow at their ends; their normals imitate round hairs."""
        count, steps, _ = self.points_sk3.shape
        if not count:
            return Prop.none()
        along = np.gradient(self.points_sk3, axis=1)
        along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
        side = np.cross(along, eye_3.astype(np.float32) - self.points_sk3)
        side /= np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-6)
        half = 0.5 * self.width_s[:, None, None] * self.taper(steps)[None, :, None]
        normal = self.out_sk3 - (self.out_sk3 * along).sum(-1, keepdims=True) * along
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)

        def double(values: Floats) -> Floats:
            return np.repeat(values.reshape(-1, 3), 2, 0)

        points = np.stack([self.points_sk3 - half * side, self.points_sk3 + half * side], 2)
        first = (np.arange(count)[:, None] * steps + np.arange(steps - 1)).reshape(-1) * 2
        faces = np.concatenate(
            [np.stack([first, first + 1, first + 3], -1), np.stack([first, first + 3, first + 2], -1)]
        )
        tilt = 0.35 * np.stack([-side, side], 2)
        round_normal = double(normal) + tilt.reshape(-1, 3)
        round_normal /= np.linalg.norm(round_normal, axis=1, keepdims=True)
        points = points.reshape(-1, 3)
        return Prop(
            points, faces, self.material, double(self.albedo_sk3), double(self.shadow_sk3), points, round_normal, self
        )

    @staticmethod
    def taper(steps: int) -> Floats:
        """Relative width along a strand. It is thin at the root: its many hairs leave the skin one by one."""
        t = np.linspace(0, 1, steps)
        return (np.clip(0.3 + 5 * t, 0, 1) * (1 - 0.75 * t**2)).astype(np.float32)


def tube(
    line_n3: Floats, radius: float | Floats, albedo: Floats | float, sides: int = 6, material: int = FRAME
) -> Prop:
    """A round bar along a polyline; ``radius`` may change along it."""
    along = np.gradient(line_n3, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    side = np.cross(along, np.where(np.abs(along[:, 1:2]) > 0.8, [[1.0, 0, 0]], [[0.0, 1, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, along)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(turn)[None, :, None] * side[:, None] + np.sin(turn)[None, :, None] * up[:, None]
    wide = np.broadcast_to(np.asarray(radius, np.float64), len(line_n3))[:, None, None]
    place = (line_n3[:, None] + wide * ring).reshape(-1, 3)
    n, k = np.meshgrid(np.arange(len(line_n3) - 1), np.arange(sides), indexing="ij")
    a, b = n * sides + k, n * sides + (k + 1) % sides
    faces = np.concatenate([np.stack([a, b, a + sides], -1), np.stack([b, b + sides, a + sides], -1)], 1).reshape(-1, 3)
    return Prop.make(place, faces[:, ::-1], material, albedo)


def subdivide(values_vc: Floats, triangles_f3: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    """Split each triangle into four, and vertex values with them; drop vertices that no triangle uses."""
    used, flat = np.unique(triangles_f3, return_inverse=True)
    triangles = flat.reshape(-1, 3)
    values = values_vc[used]
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], -1).reshape(-1, 2)
    pairs, middle = np.unique(edges, axis=0, return_inverse=True)
    m = middle.reshape(-1, 3) + len(values)
    values = np.concatenate([values, values[pairs].mean(1)])
    a, b, c = triangles.T
    quarters = [(a, m[:, 0], m[:, 2]), (m[:, 0], b, m[:, 1]), (m[:, 2], m[:, 1], c), (m[:, 0], m[:, 1], m[:, 2])]
    return values, np.concatenate([np.stack(q, -1) for q in quarters])
