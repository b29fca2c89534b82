"""Visibility of the surroundings from each vertex of a head, and thickness below it, by ray casting with Embree."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.models.directions import on_sphere
from mosar.models.head import Head
from mosar.models.mesh_laplacian import adjacency
from mosar.models.shading import sh

Values = NDArray[np.float32]

DIRECTIONS = 96
THICKEST_MM = 60.0


@dataclass(frozen=True, eq=False)
class Visibility:
    """Visibility of the ``DIRECTIONS`` from each vertex.

    ``cosine_vd``: clamped cosine between normal and direction. ``open_vd``: the same, 0 where the head blocks the ray.
    """

    cosine_vd: Values
    open_vd: Values


def visibility(head: Head, vertices_v3: NDArray[np.floating], normals_v3: NDArray[np.floating]) -> Visibility:
    """Cast rays from every vertex (V 3, mm) in those of the fixed directions that lie above its surface."""
    return _seen(head, vertices_v3, vertices_v3, normals_v3, _sphere(DIRECTIONS))


def openness_at(
    head: Head,
    vertices_v3: NDArray[np.floating],
    points_n3: NDArray[np.floating],
    normals_n3: NDArray[np.floating],
    directions: int,
) -> Values:
    """Ambient occlusion (n) at points of the surface, mm, by so many directions of the sphere; not smoothed."""
    seen = _seen(head, vertices_v3, points_n3, normals_n3, _sphere(directions))
    return np.asarray(seen.open_vd.sum(1) / np.maximum(seen.cosine_vd.sum(1), 1e-6), np.float32)


def _seen(
    head: Head,
    vertices_v3: NDArray[np.floating],
    points_n3: NDArray[np.floating],
    normals_n3: NDArray[np.floating],
    directions_d3: NDArray[np.float64],
) -> Visibility:
    cosine = np.maximum(normals_n3 @ directions_d3.T, 0).astype(np.float32)
    cosine[cosine < 0.02] = 0  # grazing rays hit the triangles around the point
    point, direction = np.nonzero(cosine)
    start = points_n3 + 0.2 * normals_n3
    hit = _run(head, vertices_v3, start[point], directions_d3[direction], "OCCLUDED") >= 0
    opened = cosine.copy()
    opened[point[hit], direction[hit]] = 0
    return Visibility(cosine, opened)


def openness(head: Head, seen: Visibility) -> Values:
    """Ambient occlusion (V): cosine-weighted share of the hemisphere that is not blocked; 1 is open."""
    opened, whole = (x.sum(1, dtype=np.float64) for x in (seen.open_vd, seen.cosine_vd))
    return _smooth(head, (opened / np.maximum(whole, 1e-6))[:, None], 1)[:, 0]


def shadow(head: Head, seen: Visibility, light_l3: NDArray[np.floating]) -> Values:
    """Share (V, 3) of the light's irradiance that the head's own shadows let through to a vertex."""
    radiance = np.maximum(sh.evaluate(torch.from_numpy(_sphere(DIRECTIONS))).numpy() @ light_l3, 1e-3)
    ratio = (seen.open_vd @ radiance) / np.maximum(seen.cosine_vd @ radiance, 1e-6)
    # light that scatters below the surface softens the edges of shadows, red light most of all
    return np.concatenate([_smooth(head, ratio[:, c : c + 1], rounds) for c, rounds in enumerate((4, 2, 1))], 1)


def openings(head: Head, seen: Visibility, bands: int = 4) -> Values:
    """Coefficients (V, bands ** 2) of what a vertex sees of the sphere of directions: 1 where it is open, else 0.

    Evaluated along a mirror direction they say how much of a highlight the head itself hides: its horizon.
    """
    basis = sh.evaluate(torch.from_numpy(_sphere(DIRECTIONS)), bands).numpy()
    return _smooth(head, (seen.open_vd > 0).astype(np.float64) @ basis * (4 * np.pi / DIRECTIONS), 1)


def thickness(head: Head, vertices_v3: NDArray[np.floating], normals_v3: NDArray[np.floating]) -> Values:
    """Thickness (V), mm: distance from a vertex straight inwards to the next surface, at most ``THICKEST_MM``."""
    inwards = -normals_v3
    depth = distances(head, vertices_v3, vertices_v3 + 0.3 * inwards, inwards)
    return _smooth(head, np.clip(depth, 0, THICKEST_MM)[:, None], 2)[:, 0]


def let_through(thickness_n: NDArray[np.floating]) -> NDArray[np.float64]:
    """Translucency (n) that flesh of this thickness, mm, has above that of a solid head."""
    return 0.6 * np.exp(-np.clip(np.asarray(thickness_n, np.float64), 0, THICKEST_MM) / 9)


def distances(head: Head, vertices_v3: Any, start_n3: Any, way_n3: Any) -> NDArray[np.float64]:
    """Distance (n), mm, along rays of unit direction to the head; infinite where a ray misses it.

    Embree finds the triangle; the distance is computed from it in double precision.
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
    del mesh  # the mesh must outlive the query and be freed before its scene
    return found


@functools.cache
def _sphere(count: int) -> NDArray[np.float64]:
    return on_sphere(count)


def _smooth(head: Head, values_vc: NDArray[np.floating], rounds: int) -> Values:
    """Average each value evenly with the mean of its neighbours, ``rounds`` times: few rays give noisy values."""
    for _ in range(rounds):
        values_vc = 0.5 * values_vc + 0.5 * neighbour_means(head, values_vc)
    return np.asarray(values_vc, np.float32)


def neighbour_means(head: Head, values_vc: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean (V, c) of the values of a vertex's neighbours."""
    return np.asarray(_neighbours(head) @ values_vc)


@functools.lru_cache(maxsize=4)
def _neighbours(head: Head) -> Any:
    """Sparse matrix (V x V) that takes the mean over adjacent vertices."""
    from scipy.sparse import diags

    adjacent = adjacency(head.triangles_f3, len(head.template_v3)).astype(np.float64)
    degree = np.maximum(np.asarray(adjacent.sum(1)).ravel(), 1)
    return diags(1 / degree) @ adjacent
