"""Closed lips: a neutral head's lips touch where the template's do.

Legend: p pairs of vertices, one on each lip, that touch on the template.
"""

import functools

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from mosar.models.head.head import Head
from mosar.models.precision import full_precision

_JAW = "jawOpen"
_TOUCH_MM = 1.0  # vertices of the two lips that are nearer than this on the template touch
_REACH_MM = 4.0  # standard deviation of the Gaussian by which the correction fades from the lips
_ROUNDS = 4


@full_precision
def close_lips(head: Head, neutral_bv3: Tensor) -> Tensor:
    """Neutral meshes (B V 3, mm) whose lips are no further apart than the template's; others than lips hardly move.

    The upper lip moves down and the lower lip up by half of the opening. Lips that touch or overlap stay. A head
    without the expression ``jawOpen``, which tells the lips apart, stays as it is.
    """
    pair_p2, side_v, blend_vp = (part.to(neutral_bv3.device) for part in _contact(head))
    if not len(pair_p2):
        return neutral_bv3
    rest_p = torch.tensor(head.template_v3[:, 1]).to(neutral_bv3)[pair_p2].diff(dim=1)[:, 0]
    closed_bv3 = neutral_bv3
    for _ in range(_ROUNDS):
        gap_bp = rest_p - closed_bv3[..., 1][:, pair_p2].diff(dim=-1)[..., 0]  # lower minus upper: an opening lowers it
        closed_bv3 = closed_bv3.clone()
        closed_bv3[..., 1] += (gap_bp.clamp(min=0.0) @ blend_vp.T.to(neutral_bv3)) * side_v.to(neutral_bv3)
    return closed_bv3


@functools.lru_cache(maxsize=8)
def _contact(head: Head) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (p, 2) of an upper and a lower vertex; share of the opening that a vertex moves up (v), -0.5 to 0.5; and
    weights of the pairs at each vertex (v, p), whose sum fades from one at the lips.
    """
    vertices_v3, count = head.template_v3.astype(np.float64), len(head.template_v3)
    pairs: npt.NDArray[np.int64] = np.zeros((0, 2), np.int64)
    side_v = np.zeros(count)
    if _JAW in head.expression_names:
        motion_v = np.linalg.norm(head.expressions_ev3[head.expression_names.index(_JAW)], axis=1)
        skin_v = np.zeros(count, bool)
        skin_v[np.unique(head.triangles_f3[head.material_f == 0])] = True
        most = motion_v[skin_v & head.region("lips")].max() if "lips" in head.region_names else motion_v[skin_v].max()
        side_v = np.clip(motion_v / most, 0.0, 1.0) - 0.5
        upper_n, lower_n = np.flatnonzero(skin_v & (side_v < -0.25)), np.flatnonzero(skin_v & (side_v > 0.25))
        if len(upper_n) and len(lower_n):
            distance_n, nearest_n = cKDTree(vertices_v3[lower_n]).query(vertices_v3[upper_n])
            touching = distance_n < _TOUCH_MM
            pairs = np.stack([upper_n[touching], lower_n[nearest_n[touching]]], axis=1)
    if not len(pairs):
        return torch.zeros(0, 2, dtype=torch.int64), torch.tensor(side_v), torch.zeros(count, 0)
    middle_p3 = vertices_v3[pairs].mean(1)
    square_vp = ((vertices_v3[:, None] - middle_p3) ** 2).sum(-1) / (2 * _REACH_MM**2)
    nearest_v1 = square_vp.min(1, keepdims=True)
    weight_vp = np.exp(4.0 * (nearest_v1 - square_vp))
    blend_vp = np.exp(-nearest_v1) * weight_vp / weight_vp.sum(1, keepdims=True)
    return torch.tensor(pairs), torch.tensor(side_v), torch.tensor(blend_vp)
