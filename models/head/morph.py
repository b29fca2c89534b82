"""Vertices, landmarks and normals of a head from weights, in millimetres in the head frame."""

import functools

import numpy as np
import torch
from torch import Tensor

from mosar.models.head.expression_model import express
from mosar.models.head.head import Head
from mosar.models.precision import full_precision


@full_precision
def shape(head: Head, archetype_ba: Tensor, mode_bm: Tensor, expression_be: Tensor) -> Tensor:
    """Vertices (B V 3, mm, head frame) of a mixture of archetypes, local modes and an expression.

    The identity is linear; :func:`mosar.models.head.expression_model.express` adds the expression.

    Args:
        archetype_ba: convex weights (B A): non-negative, summing to one.
        mode_bm: weights (B M) of the local identity modes; N(0, ``head.mode_std_m``) gives plausible people.
        expression_be: weights (B E), 0 to 1.
    """
    if expression_be.shape[-1] != len(head.expression_names):
        raise ValueError(f"got {expression_be.shape[-1]} expression weights, expected {len(head.expression_names)}")
    return express(head, neutral(head, archetype_ba, mode_bm), expression_be)


@full_precision
def neutral(head: Head, archetype_ba: Tensor, mode_bm: Tensor) -> Tensor:
    """Vertices (B V 3, mm, head frame) of :func:`shape` without an expression."""
    expected = len(head.archetype_names), len(head.mode_names)
    given = archetype_ba.shape[-1], mode_bm.shape[-1]
    if given != expected:
        raise ValueError(f"got weights for (archetypes, modes) = {given}, expected {expected}")
    template_v3, archetypes_av3, modes_mv3 = _bases(head, archetype_ba.device, archetype_ba.dtype)
    return (
        template_v3
        + torch.tensordot(archetype_ba, archetypes_av3, dims=1)
        + torch.tensordot(mode_bm, modes_mv3, dims=1)
    )


def morph_targets(head: Head, neutral_1v3: Tensor) -> Tensor:
    """Offsets (e, v, 3) in mm of each expression at full weight from a person's neutral mesh (1, v, 3).

    They are the morph targets of glTF, and differentiable.
    """
    count = len(head.expression_names)
    every = torch.eye(count, dtype=neutral_1v3.dtype, device=neutral_1v3.device)
    return express(head, neutral_1v3.expand(count, -1, -1), every) - neutral_1v3


@full_precision
def landmarks(head: Head, vertices_bv3: Tensor) -> Tensor:
    """Positions (B 478 3) of the detector's landmarks in the vertices' unit and frame; zeros if not embedded."""
    embedded = torch.from_numpy(head.landmark_triangle_l >= 0).to(vertices_bv3.device)
    triangle_l3 = head.triangles_f3[np.maximum(head.landmark_triangle_l, 0)]
    corners_bl33 = vertices_bv3[:, torch.from_numpy(triangle_l3).to(vertices_bv3.device)]
    barycentric_l3 = torch.tensor(head.landmark_barycentric_l3).to(vertices_bv3)
    points_bl3 = torch.einsum("blcx,lc->blx", corners_bl33, barycentric_l3)
    return torch.where(embedded[None, :, None], points_bl3, torch.zeros_like(points_bl3))


def vertex_normals(vertices_bv3: Tensor, triangles_f3: Tensor) -> Tensor:
    """Unit outward normals (B V 3): area-weighted means of the normals of the triangles (F 3) around each vertex."""
    a, b, c = (vertices_bv3[:, triangles_f3[:, i]] for i in range(3))
    face_bf3 = torch.cross(b - a, c - a, dim=-1)
    normals_bv3 = torch.zeros_like(vertices_bv3)
    for i in range(3):
        normals_bv3 = normals_bv3.index_add(1, triangles_f3[:, i], face_bf3)
    return torch.nn.functional.normalize(normals_bv3, dim=-1)


@functools.lru_cache(maxsize=8)
def _bases(head: Head, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    arrays = (head.template_v3, head.archetypes_av3, head.modes_mv3)
    template_v3, archetypes_av3, modes_mv3 = (torch.tensor(a, device=device, dtype=dtype) for a in arrays)
    return template_v3, archetypes_av3, modes_mv3
