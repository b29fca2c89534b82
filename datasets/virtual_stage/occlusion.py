"""What each vertex of a head sees of its surroundings, and how thick the flesh below it is: ray casting with Embree."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.models.head import Head
from mosar.models.shading import sh

Values = NDArray[np.float32]

DIRECTIONS = 96
THICKEST_MM = 60.0


@dataclass(frozen=True, eq=False)
class Visibility:
    """``cosine_vd``: clamped cosine between a vertex' normal and each of the ``DIRECTIONS``; ``open_vd``: the same, 0
    where the head itself is in the way.
    """

    cosine_vd: Values
    open_vd: Values


def visibility(head: Head, vertices_v3: NDArray[np.floating], normals_v3: NDArray[np.floating]) -> Visibility:
    """Cast rays from every vertex (V 3, mm) in those of a fixed set of directions that its normal faces."""
    directions = _sphere()
    cosine = np.maximum(normals_v3 @ directions.T, 0).astype(np.float32)
    cosine[cosine < 0.02] = 0  # grazing rays meet the facets next to a vertex
    vertex, direction = np.nonzero(cosine)
    start = vertices_v3 + 0.2 * normals_v3
    hit = _run(head, vertices_v3, start[vertex], directions[direction], "OCCLUDED") >= 0
    opened = cosine.copy()
    opened[vertex[hit], direction[hit]] = 0
    return Visibility(cosine, opened)


def openness(head: Head, seen: Visibility) -> Values:
    """Ambient occlusion (V): the cosine-weighted share of the sky that is open, 1 where all of it is."""
    opened, whole = (x.sum(1, dtype=np.float64) for x in (seen.open_vd, seen.cosine_vd))
    return _smooth(head, (opened / np.maximum(whole, 1e-6))[:, None], 1)[:, 0]


def shadow(head: Head, seen: Visibility, light_l3: NDArray[np.floating]) -> Values:
    """The share (V, 3) of the light's irradiance that reaches a vertex past the head's own shadows."""
    radiance = np.maximum(sh.evaluate(torch.from_numpy(_sphere())).numpy() @ light_l3, 1e-3)
    ratio = (seen.open_vd @ radiance) / np.maximum(seen.cosine_vd @ radiance, 1e-6)
    return _smooth(head, ratio, 1)


def thickness(head: Head, vertices_v3: NDArray[np.floating], normals_v3: NDArray[np.floating]) -> Values:
    """Distance (V), mm, at most ``THICKEST_MM``, from a vertex straight in to where the flesh ends."""
    inwards = -normals_v3
    depth = distances(head, vertices_v3, vertices_v3 + 0.3 * inwards, inwards)
    return _smooth(head, np.clip(depth, 0, THICKEST_MM)[:, None], 2)[:, 0]


def distances(head: Head, vertices_v3: Any, start_n3: Any, way_n3: Any) -> NDArray[np.float64]:
    """How far (n), mm, rays of unit direction go before they meet the head; infinitely far if they never do.

    Which triangle they meet is Embree's word; where, is computed in double precision.
    """
    triangle = np.asarray(_run(head, vertices_v3, start_n3, way_n3, "INTERSECT"), np.int64)
    hit = triangle >= 0
    corners = np.asarray(vertices_v3, np.float64)[head.triangles_f3[triangle[hit]]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    start, way = np.asarray(start_n3, np.float64)[hit], np.asarray(way_n3, np.float64)[hit]
    far = np.full(len(hit), np.inf)
    far[hit] = ((corners[:, 0] - start) * normal).sum(1) / (way * normal).sum(1)
    return far


def _run(head: Head, vertices_v3: Any, start_n3: Any, way_n3: Any, query: str) -> NDArray[Any]:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    mesh = TriangleMesh(scene, np.ascontiguousarray(vertices_v3, np.float32), head.triangles_f3.astype(np.int32))
    rays = np.ascontiguousarray(start_n3, np.float32), np.ascontiguousarray(way_n3, np.float32)
    found = np.asarray(scene.run(*rays, query=query))
    del mesh  # it must outlive the query, and go before its scene
    return found


@functools.cache
def _sphere() -> NDArray[np.float64]:
    """Directions (D, 3), evenly over the sphere."""
    index = np.arange(DIRECTIONS) + 0.5
    y, angle = 1 - 2 * index / DIRECTIONS, index * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - y * y)
    return np.stack([radius * np.sin(angle), y, radius * np.cos(angle)], -1)


def _smooth(head: Head, values_vc: NDArray[np.floating], rounds: int) -> Values:
    """Half a value, half the mean of its neighbours; ``rounds`` times. Few rays are cast."""
    matrix = _neighbours(head)
    for _ in range(rounds):
        values_vc = 0.5 * values_vc + 0.5 * (matrix @ values_vc)
    return np.asarray(values_vc, np.float32)


@functools.lru_cache(maxsize=4)
def _neighbours(head: Head) -> Any:
    """Sparse V x V: the mean over adjacent vertices."""
    from scipy.sparse import csr_matrix, diags

    f = head.triangles_f3
    rows, columns = np.concatenate([f, f[:, [1, 2, 0]]]).ravel(), np.concatenate([f[:, [1, 2, 0]], f]).ravel()
    adjacent = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(head.template_v3),) * 2)
    adjacent.data[:] = 1
    degree = np.maximum(np.asarray(adjacent.sum(1)).ravel(), 1)
    return diags(1 / degree) @ adjacent
