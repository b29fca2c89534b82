"""Closest points on a surface, among the triangles that face the same way as the query.

Legend: v vertices, f triangles, n queries, k nearest triangles.
"""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_NEAREST = 24  # triangles that are tried, by the distance of their centres
_FACING = 0.3  # smallest cosine between the query's normal and the triangle's


class Surface:
    """A triangle mesh (mm) that answers closest-point queries."""

    def __init__(self, vertices_v3: Array, triangles_f3: Index) -> None:
        self.vertices_v3 = np.asarray(vertices_v3, np.float64)
        self.triangles_f3 = triangles_f3
        self._corners_f33 = self.vertices_v3[triangles_f3]
        normal_f3 = np.cross(
            self._corners_f33[:, 1] - self._corners_f33[:, 0], self._corners_f33[:, 2] - self._corners_f33[:, 0]
        )
        self.normal_f3 = normal_f3 / np.maximum(np.linalg.norm(normal_f3, axis=1, keepdims=True), 1e-12)
        self._tree = cKDTree(self._corners_f33.mean(1))

    def closest(self, points_n3: Array, normals_n3: Array | None = None) -> tuple[Array, Array, Index]:
        """Closest points (n 3), their distance (n) and triangle (n).

        Args:
            normals_n3: if given, only triangles that face the same way count; the distance is infinite if none of
                those nearby does.
        """
        import trimesh

        count = min(_NEAREST, len(self.triangles_f3))
        near_nk = self._tree.query(points_n3, count)[1].reshape(len(points_n3), count)
        flat = near_nk.ravel()
        found = trimesh.triangles.closest_point(self._corners_f33[flat], np.repeat(points_n3, count, 0))
        found_nk3 = np.asarray(found).reshape(len(points_n3), count, 3)
        distance_nk = np.linalg.norm(found_nk3 - points_n3[:, None], axis=2)
        if normals_n3 is not None:
            away = (self.normal_f3[near_nk] * normals_n3[:, None]).sum(2) < _FACING
            distance_nk = np.where(away, np.inf, distance_nk)
        best_n = distance_nk.argmin(1)
        rows = np.arange(len(points_n3))
        return found_nk3[rows, best_n], distance_nk[rows, best_n], near_nk[rows, best_n]

    def barycentric(self, points_n3: Array, triangle_n: Index) -> Array:
        """Barycentrics (n 3) of points on triangles."""
        import trimesh

        return np.asarray(trimesh.triangles.points_to_barycentric(self._corners_f33[triangle_n], points_n3))
