"""Eyeballs, teeth and tongue: placed at the scans' own, and moved by the affine part of the scans' offsets.

Legend: n vertices of the scans' part, k vertices of the head's part, o offsets.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def place_ball(points_k3: Array, ball_n3: Array) -> Array:
    """An eyeball moved and scaled to the sphere that fits the scans' eyeball best."""
    centre, radius = sphere(ball_n3)
    own, own_radius = points_k3.mean(0), np.linalg.norm(points_k3 - points_k3.mean(0), axis=1).mean()
    return np.asarray((points_k3 - own) * (radius / own_radius) + centre)


def sphere(points_n3: Array) -> tuple[Array, float]:
    """Centre and radius of the least-squares sphere of points."""
    rows = np.concatenate([2 * points_n3, np.ones((len(points_n3), 1))], axis=1)
    found = np.linalg.lstsq(rows, (points_n3**2).sum(1), rcond=None)[0]
    return found[:3], float(np.sqrt(found[3] + found[:3] @ found[:3]))


def arch_map(points_k3: Array, arch_n3: Array, upper: bool) -> tuple[Array, Array]:
    """Scale (3) and shift (3) that take a dental arch to the scans': same width, depth and biting edge."""
    low_k, high_k, low_n, high_n = points_k3.min(0), points_k3.max(0), arch_n3.min(0), arch_n3.max(0)
    scale = (high_n - low_n) / (high_k - low_k)
    scale[1] = (scale[0] + scale[2]) / 2
    shift = (high_n + low_n) / 2 - scale * (high_k + low_k) / 2
    edge = 0 if upper else 1
    ends_k, ends_n = (low_k[1], high_k[1]), (low_n[1], high_n[1])
    shift[1] = ends_n[edge] - scale[1] * ends_k[edge]
    return scale, shift


def similar(offsets_on3: Array, points_n3: Array, places_k3: Array) -> Array:
    """Offsets (o k 3) of places by the translation and scale nearest to the offsets of points."""
    centre = points_n3.mean(0)
    arm_n3 = points_n3 - centre
    mean_o3 = offsets_on3.mean(1)
    growth_o = (offsets_on3 * arm_n3).sum((1, 2)) / (arm_n3**2).sum()
    return np.asarray(mean_o3[:, None] + growth_o[:, None, None] * (places_k3 - centre))


def affine(offsets_on3: Array, points_n3: Array, places_k3: Array) -> Array:
    """Offsets (o k 3) of places by the affine map nearest to the offsets of points."""
    rows_n4, rows_k4 = (
        np.concatenate([p - points_n3.mean(0), np.ones((len(p), 1))], 1) for p in (points_n3, places_k3)
    )
    maps_o43 = np.linalg.pinv(rows_n4) @ offsets_on3
    return np.asarray(rows_k4 @ maps_o43)


def rigid(offsets_on3: Array, points_n3: Array, places_k3: Array) -> Array:
    """Offsets (o k 3) of places by the rigid motion nearest to the offsets of points (Kabsch 1976)."""
    centre = points_n3.mean(0)
    found = []
    for offset_n3 in offsets_on3:
        moved = points_n3 + offset_n3
        left, _, right = np.linalg.svd((points_n3 - centre).T @ (moved - moved.mean(0)))
        turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
        found.append((places_k3 - centre) @ turn + moved.mean(0) - places_k3)
    return np.stack(found)
