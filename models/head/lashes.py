"""Eyelashes: curved hairs rooted in the skin, so that they follow the lids of any person in any expression.

They are not vertices of the head: stages and losses do not see them; code that draws a head may add them.
Legend: b batch, v vertices, h hairs, k points of a hair, x vertices and g triangles of the hairs as bars.
"""

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import normalize

from mosar.models.head.head import Head
from mosar.models.head.morph import vertex_normals

Array = npt.NDArray[np.float64]

ALBEDO = (0.016, 0.011, 0.008)
"""Linear RGB."""
_WIDTH_MM = 0.1  # at the root
_SIDES = 3
_LOWER = 0.3  # length of the bars of lower lashes over that of their hairs: thick bars stand out on the skin below


def hairs(head: Head, vertices_bv3: Tensor, stretch: float = 1.0) -> Tensor:
    """Polylines (B H K 3) from root to tip, mm, head frame; H is 0 for a head without lashes.

    Each hair keeps its shape and turns with the skin at its root: with the normal and an edge of the root's triangle.

    Args:
        stretch: ratio of the hairs' length to that in the head file.
    """
    corners_h3 = torch.from_numpy(head.triangles_f3[head.lash_triangle_h]).to(vertices_bv3.device)
    barycentric_h31 = torch.tensor(head.lash_barycentric_h3).to(vertices_bv3)[..., None]
    corners_bh33 = vertices_bv3[:, corners_h3]
    root_bh3 = (corners_bh33 * barycentric_h31).sum(2)
    triangles_f3 = torch.from_numpy(np.array(head.triangles_f3)).to(vertices_bv3.device)
    frame_bh33 = _frames(triangles_f3, vertices_bv3, corners_h3, barycentric_h31)
    offset_hk3 = torch.tensor(head.lash_offset_hk3).to(vertices_bv3)
    offset_hk3 = offset_hk3[:, :1] + stretch * (offset_hk3 - offset_hk3[:, :1])
    return root_bh3[:, :, None] + offset_hk3 @ frame_bh33


def bars(head: Head, vertices_bv3: Tensor) -> Tensor:
    """The hairs as three-sided bars that taper to a point: vertices (B X 3) for :func:`bar_triangles`, mm.

    Those of the lower lids are shorter than their hairs.
    """
    points_bhk3 = hairs(head, vertices_bv3)
    if not points_bhk3.shape[1]:
        return vertices_bv3.new_zeros(len(vertices_bv3), 0, 3)
    root_bh13 = points_bhk3[:, :, :1]
    points_bhk3 = root_bh13 + _length(head).to(points_bhk3)[:, None, None] * (points_bhk3 - root_bh13)
    along_bhk3 = normalize(torch.gradient(points_bhk3, dim=2)[0], dim=-1)
    sideways = along_bhk3.new_tensor([1.0, 0, 0]).expand_as(along_bhk3)  # lashes do not point along x
    side_bhk3 = normalize(torch.cross(along_bhk3, sideways, dim=-1), dim=-1)
    other_bhk3 = torch.cross(along_bhk3, side_bhk3, dim=-1)
    steps = points_bhk3.shape[2]
    radius_k1 = 0.5 * _WIDTH_MM * (1 - 0.6 * torch.linspace(0, 1, steps).to(points_bhk3))[:-1, None]
    rings = []
    for turn in np.arange(_SIDES) * 2 * np.pi / _SIDES:
        way = np.cos(turn) * side_bhk3 + np.sin(turn) * other_bhk3
        rings.append(points_bhk3[:, :, :-1] + radius_k1 * way[:, :, :-1])
    sides_bhx3 = torch.stack(rings, dim=3).flatten(2, 3)
    return torch.cat([sides_bhx3, points_bhk3[:, :, -1:]], dim=2).flatten(1, 2)


@functools.lru_cache(maxsize=8)
def _length(head: Head) -> Tensor:
    """Ratio (h) of a bar's length to its hair's."""
    points_hk3 = hairs(head, torch.tensor(head.template_v3)[None])[0]
    down_h = points_hk3[:, -1, 1] < points_hk3[:, 0, 1]
    return torch.where(down_h, _LOWER, 1.0)


@functools.lru_cache(maxsize=8)
def bar_triangles(head: Head) -> npt.NDArray[np.int64]:
    """Triangles (G 3) into the vertices of :func:`bars`, counter-clockwise seen from outside."""
    count, steps, _ = head.lash_offset_hk3.shape
    each = _SIDES * (steps - 1) + 1
    faces = []
    for ring in range(steps - 1):
        for i in range(_SIDES):
            a, b = _SIDES * ring + i, _SIDES * ring + (i + 1) % _SIDES
            if ring < steps - 2:
                faces += [(a, b, a + _SIDES), (b, b + _SIDES, a + _SIDES)]
            else:
                faces.append((a, b, each - 1))
    one_g3 = np.array(faces, np.int64).reshape(-1, 3)
    return (np.arange(count)[:, None, None] * each + one_g3).reshape(-1, 3)


def root(triangles_f3: npt.NDArray[np.int64], poses_pv3: Array, poses_phk3: Array) -> dict[str, npt.NDArray[Any]]:
    """Compute a head's ``lash_*`` fields from its vertices (P V 3) and hairs (P H K 3) in P poses, the template first.

    A hair is rooted in the triangle nearest to its start over all poses: one pose is ambiguous where lids touch.

    Args:
        triangles_f3: triangles of the skin.
    """
    centres_fc = poses_pv3[:, triangles_f3].mean(2).transpose(1, 0, 2).reshape(len(triangles_f3), -1)
    starts_hc = poses_phk3[:, :, 0].transpose(1, 0, 2).reshape(poses_phk3.shape[1], -1)
    triangle_h = np.asarray(cKDTree(centres_fc).query(starts_hc)[1], np.int64)
    corners_h3, template_v3 = triangles_f3[triangle_h], poses_pv3[0]
    barycentric_h3 = _nearest(template_v3[corners_h3], poses_phk3[0, :, 0])
    foot_h3 = np.einsum("hcx,hc->hx", template_v3[corners_h3], barycentric_h3)
    frame_h33 = _frames(
        torch.from_numpy(triangles_f3),
        torch.from_numpy(template_v3)[None],
        torch.from_numpy(corners_h3),
        torch.from_numpy(barycentric_h3)[..., None],
    )[0].numpy()
    return {
        "lash_triangle_h": triangle_h,
        "lash_barycentric_h3": barycentric_h3.astype(np.float32),
        "lash_offset_hk3": ((poses_phk3[0] - foot_h3[:, None]) @ frame_h33.transpose(0, 2, 1)).astype(np.float32),
    }


def _nearest(corners_h33: Array, points_h3: Array) -> Array:
    """Barycentrics (H 3) of points projected to the planes of their triangles, clipped to the triangles."""
    edges_h32 = (corners_h33[:, 1:] - corners_h33[:, :1]).transpose(0, 2, 1)
    shares_h2 = (np.linalg.pinv(edges_h32) @ (points_h3 - corners_h33[:, 0])[..., None])[..., 0]
    inside_h3 = np.concatenate([1 - shares_h2.sum(1, keepdims=True), shares_h2], axis=1).clip(0)
    return np.asarray(inside_h3 / inside_h3.sum(1, keepdims=True))


def _frames(triangles_f3: Tensor, vertices_bv3: Tensor, corners_h3: Tensor, barycentric_h31: Tensor) -> Tensor:
    """Frames (B H 3 3) whose rows are a triangle edge, its perpendicular in the skin, and the skin's normal."""
    normals_bv3 = vertex_normals(vertices_bv3, triangles_f3)
    normal_bh3 = normalize((normals_bv3[:, corners_h3] * barycentric_h31).sum(2), dim=-1)
    edge_bh3 = vertices_bv3[:, corners_h3[:, 1]] - vertices_bv3[:, corners_h3[:, 0]]
    along_bh3 = normalize(edge_bh3 - (edge_bh3 * normal_bh3).sum(-1, keepdim=True) * normal_bh3, dim=-1)
    return torch.stack([along_bh3, torch.cross(normal_bh3, along_bh3, dim=-1), normal_bh3], dim=2)
