"""The rendered mesh of a head: every array holds the head's own surface, then its lashes as one more material."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.models.head import Head, lashes

LASHES = "lashes"
OTHER_SPECULAR = {"eyes": 0.12, "mouth": 0.35, LASHES: 0.0}
"""Specular value of each material but the skin, which has a map. A wet eye reflects sharply: under a broad lobe its
true 0.3 would veil the iris."""
Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RenderMesh:
    """Triangles (f, 3) as indices into :func:`render_vertices` and the head's UVs (0 for lashes), and materials."""

    triangles_f3: Index
    uv_triangles_f3: Index
    material_f: Index
    material_names: tuple[str, ...]


@functools.lru_cache(maxsize=8)
def render_mesh(head: Head) -> RenderMesh:
    """The part of the mesh that is the same for all people on a head."""
    bars_g3 = lashes.bar_triangles(head)
    return RenderMesh(
        np.concatenate([head.triangles_f3, bars_g3 + len(head.template_v3)]),
        np.concatenate([head.uv_triangles_f3, np.zeros_like(bars_g3)]),
        np.concatenate([head.material_f, np.full(len(bars_g3), len(head.material_names))]),
        (*head.material_names, LASHES) if len(bars_g3) else head.material_names,
    )


def render_vertices(head: Head, vertices_bv3: Tensor) -> Tensor:
    """The head's vertices (b, v, 3), mm, followed by the vertices of the lashes rooted in them."""
    return torch.cat([vertices_bv3, lashes.bars(head, vertices_bv3)], dim=1)
