"""Quality metrics of a head's chart."""

import numpy as np
import numpy.typing as npt

from mosar.datasets.head_building.uv_density import intended_scale
from mosar.models.head.head import Head

Array = npt.NDArray[np.float64]


def chart_metrics(head: Head, size: int = 1024) -> dict[str, float]:
    """Flips, overlap, symmetry, share of the face, evenness and shear of the skin's chart.

    ``uv_stretch_p95_over_p5`` and ``uv_anisotropy_p95`` cover the visible face (without the inside of lids, nostrils
    and mouth), weighted by area. Stretch is the area ratio divided by the intended one; anisotropy is the ratio of the
    singular values.

    Args:
        size: side, in texels, of the map on which overlap and share are counted.
    """
    skin = head.material_f == 0
    triangles_f3, uv_f32 = head.triangles_f3[skin], head.uv_w2[head.uv_triangles_f3[skin]].astype(np.float64)
    edges_f22 = np.stack([uv_f32[:, 1] - uv_f32[:, 0], uv_f32[:, 2] - uv_f32[:, 0]], 2)
    doubled_f = np.linalg.det(edges_f22)
    rest_f22, area_f = _flat(head.template_v3[triangles_f3].astype(np.float64))
    jacobian_f22 = edges_f22 @ np.linalg.inv(rest_f22)
    values_f2 = np.linalg.svd(jacobian_f22, compute_uv=False)
    face_f = head.region("face")[triangles_f3].all(1)
    seen_f = face_f & ~head.region("interior")[triangles_f3].any(1)
    scale_f = intended_scale(triangles_f3, head.region_names, head.regions_rv)
    stretch_f = np.abs(doubled_f) / (2 * area_f * scale_f**2)
    shear_f = values_f2[:, 0] / np.maximum(values_f2[:, 1], 1e-12)
    count_hw, face_hw = _coverage(uv_f32, face_f, size)
    low, high = (_quantile(stretch_f[seen_f], area_f[seen_f], q) for q in (0.05, 0.95))
    return {
        "uv_flipped_triangles": float((doubled_f <= 0).sum()),
        "uv_overlap_texels": float((count_hw > 1).sum()),
        "uv_symmetry_error": _asymmetry(head, uv_f32, triangles_f3),
        "uv_face_share": float(face_hw.mean()),
        "uv_stretch_p95_over_p5": high / low,
        "uv_anisotropy_p95": _quantile(shear_f[seen_f], area_f[seen_f], 0.95),
    }


def _flat(corners_f33: Array) -> tuple[Array, Array]:
    """Edge matrices (F 2 2) of the triangles, each in its own plane, and their areas (F)."""
    first, second = corners_f33[:, 1] - corners_f33[:, 0], corners_f33[:, 2] - corners_f33[:, 0]
    length = np.linalg.norm(first, axis=1)
    along = (first * second).sum(1) / length
    across = np.linalg.norm(np.cross(first, second), axis=1) / length
    edges = np.stack([np.stack([length, along], 1), np.stack([np.zeros_like(length), across], 1)], 1)
    return edges, length * across / 2


def _asymmetry(head: Head, uv_f32: Array, triangles_f3: npt.NDArray[np.int64]) -> float:
    """Largest distance between a chart corner and the mirror image of its mirrored corner; 1 without a mirror."""
    key = {tuple(sorted(t)): i for i, t in enumerate(triangles_f3.tolist())}
    worst = 0.0
    for i, triangle in enumerate(triangles_f3.tolist()):
        mirrored = head.mirror_v[triangle].tolist()
        other = key.get(tuple(sorted(mirrored)))
        if other is None:
            return 1.0
        order = [triangles_f3[other].tolist().index(v) for v in mirrored]
        worst = max(worst, float(np.abs(uv_f32[other][order] * [-1, 1] + [1, 0] - uv_f32[i]).max()))
    return worst


def _coverage(uv_f32: Array, face_f: npt.NDArray[np.bool_], size: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Number of triangles that contain each texel's centre in their interior, and mask of the texels on the face."""
    count_hw, face_hw = np.zeros((size, size)), np.zeros((size, size), bool)
    for corners, face in zip(uv_f32 * size - 0.5, face_f, strict=True):
        low = np.maximum(np.ceil(corners.min(0)).astype(int), 0)
        high = np.minimum(np.floor(corners.max(0)).astype(int), size - 1)
        if (low > high).any():
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
        inside, within = np.ones(x.shape, bool), np.ones(x.shape, bool)
        turn = np.sign(np.linalg.det(np.stack([corners[1] - corners[0], corners[2] - corners[0]])))
        for i in range(3):
            a, b = corners[i], corners[(i + 1) % 3]
            side = turn * ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0]))
            # A centre on an edge belongs to both triangles without an overlap.
            inside &= side > 1e-6
            within &= side >= 0
        count_hw[low[1] : high[1] + 1, low[0] : high[0] + 1] += inside
        if face:
            face_hw[low[1] : high[1] + 1, low[0] : high[0] + 1] |= within
    return count_hw, face_hw


def _quantile(values: Array, weights: Array, share: float) -> float:
    order = np.argsort(values)
    cumulative = weights[order].cumsum() / weights.sum()
    return float(values[order][np.searchsorted(cumulative, share)])
