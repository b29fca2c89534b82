"""What the virtual light stage's people wear, as meshes around a head."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SKIN, HAIR, FRAME = 0, 16, 17
"""Materials: the head's own count from 0 (skin), these are added."""


@dataclass(frozen=True, eq=False)
class Body:
    """A head that is dressed (V 3 each): points in mm, normals, share of light past its own shadows."""

    vertices_v3: NDArray[np.float32]
    normals_v3: NDArray[np.float32]
    shadow_v3: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mesh:
    """A thing: points, triangles (counter-clockwise from outside), material, template positions, share of light."""

    vertices_x3: NDArray[np.floating]
    triangles_g3: NDArray[np.int64]
    material: int
    rest_x3: NDArray[np.floating]
    shadow_x3: NDArray[np.floating]

    @staticmethod
    def none() -> "Mesh":
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), HAIR, np.zeros((0, 3)), np.zeros((0, 3)))

    @staticmethod
    def join(parts: "Sequence[Mesh]") -> "Mesh":
        """One mesh of several of one material."""
        starts = np.cumsum([0, *[len(m.vertices_x3) for m in parts]])
        return Mesh(
            np.concatenate([m.vertices_x3 for m in parts]),
            np.concatenate([m.triangles_g3 + start for m, start in zip(parts, starts[:-1], strict=True)]),
            parts[0].material,
            np.concatenate([m.rest_x3 for m in parts]),
            np.concatenate([m.shadow_x3 for m in parts]),
        )


def tube(line_n3: NDArray[np.floating], radius: float, sides: int = 6) -> Mesh:
    """A round bar along a polyline."""
    along = np.gradient(line_n3, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    side = np.cross(along, np.where(np.abs(along[:, 1:2]) > 0.8, [[1.0, 0, 0]], [[0.0, 1, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, along)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(turn)[None, :, None] * side[:, None] + np.sin(turn)[None, :, None] * up[:, None]
    place = (line_n3[:, None] + radius * ring).reshape(-1, 3)
    n, k = np.meshgrid(np.arange(len(line_n3) - 1), np.arange(sides), indexing="ij")
    a, b = n * sides + k, n * sides + (k + 1) % sides
    faces = np.concatenate([np.stack([a, b, a + sides], -1), np.stack([b, b + sides, a + sides], -1)], 1).reshape(-1, 3)
    return Mesh(place, faces, FRAME, place, np.full((len(place), 3), 0.9))


def subdivide(
    values_vc: NDArray[np.floating], triangles_f3: NDArray[np.int64]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Each triangle as four; vertices that no triangle uses are dropped."""
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
