"""Non-rigid registration of a mesh to a surface: thin-plate start, then closest points under smoothness.

Legend: v vertices of the mesh, f triangles, l landmarks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.interpolate import RBFInterpolator
from scipy.sparse.linalg import splu

from mosar.datasets.head_building.closest_points import Surface

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_STIFFNESS = (300.0, 300.0, 100.0, 100.0, 30.0, 30.0, 10.0, 10.0, 3.0, 3.0, 1.0, 1.0, 0.3, 0.3, 0.1, 0.1)
"""Weight of the squared Laplacian of the displacement in every round: from nearly affine to nearly free."""
_REACH_MM = (25.0, 3.0)  # largest distance of a match, first and last round
_LANDMARK = 1.0  # weight of a landmark in the first round; it falls with the stiffness
_START_SMOOTHING = 5.0


@dataclass(frozen=True)
class Landmarks:
    """Common landmarks: barycentric rows on the mesh (l v, sparse), and their places on the surface (l 3), mm."""

    rows_lv: sp.csr_matrix
    places_l3: Array


def landmark_rows(triangles_f3: Index, triangle_l: Index, barycentric_l3: Array, vertices: int) -> sp.csr_matrix:
    """Sparse rows (l v) that evaluate embedded landmarks."""
    rows = np.repeat(np.arange(len(triangle_l)), 3)
    return sp.csr_matrix(
        (np.asarray(barycentric_l3, np.float64).ravel(), (rows, triangles_f3[triangle_l].ravel())),
        (len(triangle_l), vertices),
    )


def laplacian(triangles_f3: Index, vertices: int) -> sp.csr_matrix:
    """Uniform Laplacian (v v): a vertex minus the mean of its neighbours; zero rows for unused vertices."""
    edges = np.concatenate([triangles_f3[:, [0, 1]], triangles_f3[:, [1, 2]], triangles_f3[:, [2, 0]]])
    adjacency = sp.coo_matrix((np.ones(len(edges)), edges.T), (vertices, vertices)).tocsr()
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    degree_v = np.asarray(adjacency.sum(1)).ravel()
    scale = sp.diags(np.where(degree_v > 0, 1 / np.maximum(degree_v, 1), 0))
    return (sp.diags((degree_v > 0).astype(float)) - scale @ adjacency).tocsr()


def thin_plate(points_v3: Array, landmarks: Landmarks) -> Array:
    """The points warped by a thin-plate spline that takes the landmarks to their places."""
    start_l3 = landmarks.rows_lv @ points_v3
    warp = RBFInterpolator(start_l3, landmarks.places_l3, kernel="thin_plate_spline", smoothing=_START_SMOOTHING)
    return np.asarray(warp(points_v3))


def fit(
    start_v3: Array,
    triangles_f3: Index,
    surface: Surface,
    matched_v: Array,
    landmarks: Landmarks,
    stiffness: Sequence[float] = _STIFFNESS,
) -> Array:
    """Vertices (v 3, mm) of the mesh drawn onto the surface.

    Every round matches vertices with the closest points that face the same way, and solves for the displacement that
    brings them there, with a penalty on its Laplacian (Amberg et al. 2007 use an affine map for each vertex; a
    displacement suffices after the thin-plate start).

    Args:
        matched_v: weight (v) of each vertex' match; 0 where the surface has no counterpart.
    """
    bend = laplacian(triangles_f3, len(start_v3))
    bend = (bend.T @ bend).tocsc()
    found_v3 = start_v3.copy()
    used = np.flatnonzero(matched_v > 0)
    reaches = np.geomspace(*_REACH_MM, len(stiffness))
    for weight, reach in zip(stiffness, reaches, strict=True):
        normals = vertex_normals(found_v3, triangles_f3)
        goal_n3, distance_n, _ = surface.closest(found_v3[used], normals[used])
        good = distance_n < reach
        match_v, shift_v3 = np.zeros(len(found_v3)), np.zeros_like(found_v3)
        match_v[used[good]] = matched_v[used[good]]
        shift_v3[used[good]] = (goal_n3 - found_v3[used])[good]
        pull = _LANDMARK * min(1.0, weight / 10)
        rows = landmarks.rows_lv
        system = sp.diags(match_v + 1e-6) + weight * bend + pull * (rows.T @ rows)
        right = match_v[:, None] * shift_v3 + pull * (rows.T @ (landmarks.places_l3 - rows @ found_v3))
        found_v3 = found_v3 + splu(system.tocsc()).solve(right)
    return found_v3


def vertex_normals(vertices_v3: Array, triangles_f3: Index) -> Array:
    """Unit area-weighted normals (v 3)."""
    a, b, c = (vertices_v3[triangles_f3[:, i]] for i in range(3))
    normals = np.zeros_like(vertices_v3)
    for i in range(3):
        np.add.at(normals, triangles_f3[:, i], np.cross(b - a, c - a))
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12))
