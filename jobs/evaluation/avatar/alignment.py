"""Alignment of points (n, 3), float64: weighted similarity and rigid fits, closest points, rigid ICP."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Points = NDArray[np.float64]

_CANDIDATES = 10
"""Triangles with the nearest centroids, among which the closest point of a surface is searched."""
_ROUNDS, _RIDGE = 8, 1e-4


@dataclass(frozen=True, eq=False)
class Similarity:
    """``x -> scale * rotation x + translation``."""

    scale: float
    rotation_33: Points
    translation_3: Points

    def __call__(self, points_n3: NDArray[np.floating]) -> Points:
        return np.asarray(self.scale * (points_n3 @ self.rotation_33.T) + self.translation_3)

    @property
    def degrees(self) -> float:
        """Angle of the rotation."""
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation_33) - 1) / 2, -1, 1))))


def fit(
    source_n3: NDArray[np.floating],
    target_n3: NDArray[np.floating],
    weight_n: Points | None = None,
    scaled: bool = True,
) -> Similarity:
    """Similarity (``scaled``), or rigid motion, that moves ``source`` nearest to ``target`` (Umeyama 1991)."""
    source, target = np.asarray(source_n3, np.float64), np.asarray(target_n3, np.float64)
    weight = np.full(len(source), 1 / len(source)) if weight_n is None else weight_n / weight_n.sum()
    from_3, to_3 = weight @ source, weight @ target
    moved, wanted = source - from_3, target - to_3
    u, stretch, vt = np.linalg.svd((wanted * weight[:, None]).T @ moved)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * sign) @ vt
    scale = float((stretch * sign).sum() / (weight @ (moved**2).sum(1))) if scaled else 1.0
    return Similarity(scale, rotation, to_3 - scale * rotation @ from_3)


class Surface:
    """Closest points on a mesh's triangles (f, 3, 3)."""

    def __init__(self, corners_f33: Points) -> None:
        self._corners = corners_f33
        self._tree = cKDTree(corners_f33.mean(1))
        normal = np.cross(corners_f33[:, 1] - corners_f33[:, 0], corners_f33[:, 2] - corners_f33[:, 0])
        self._normal_f3 = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)

    def closest(self, points_n3: Points) -> tuple[Points, Points]:
        """The point of the surface that is closest to each point, and the unit normal of its triangle (n, 3)."""
        from trimesh.triangles import closest_point

        count = min(_CANDIDATES, len(self._corners))
        near_nk = self._tree.query(points_n3, count)[1].reshape(len(points_n3), count)
        repeated = np.repeat(points_n3, count, axis=0)
        found_nk3 = closest_point(self._corners[near_nk.ravel()], repeated).reshape(len(points_n3), count, 3)
        best_n = ((found_nk3 - points_n3[:, None]) ** 2).sum(-1).argmin(1)
        rows = np.arange(len(points_n3))
        return found_nk3[rows, best_n], self._normal_f3[near_nk[rows, best_n]]


def icp(points_n3: Points, surface: Surface, weight_n: Points) -> Points:
    """Distance (n) of points to a surface after rigid iterative-closest-point steps, point to plane.

    The best state is kept (Chen and Medioni 1992). A weak ridge keeps a nearly plane patch from sliding.
    """
    weight = weight_n / weight_n.sum()
    moved = points_n3
    best = np.linalg.norm(surface.closest(moved)[0] - moved, axis=1)
    for _ in range(_ROUNDS):
        target, normal = surface.closest(moved)
        centre = weight @ moved
        size = np.sqrt(weight @ ((moved - centre) ** 2).sum(1))
        # Unknowns: a rotation vector about the centre, in units of the patch's size, and a translation.
        slope_n6 = np.concatenate([np.cross((moved - centre) / size, normal), normal], axis=1)
        missing_n = ((target - moved) * normal).sum(1)
        gram = (slope_n6 * weight[:, None]).T @ slope_n6 + _RIDGE * np.eye(6)
        step = np.linalg.solve(gram, slope_n6.T @ (weight * missing_n))
        moved = (moved - centre) @ Rotation.from_rotvec(step[:3] / size).as_matrix().T + centre + step[3:]
        distance = np.linalg.norm(surface.closest(moved)[0] - moved, axis=1)
        if weight @ distance < weight @ best:
            best = distance
    return np.asarray(best)
