"""Smooth relief of the face that no combination of a head's modes can show: asymmetries, local bumps."""

import functools

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.quantize import POINT_BITS, quantize
from mosar.models.head import Head

AMPLITUDE_MM = (0.5, 1.0)
"""Range of the root mean square offset over the face."""
_BUMPS = (8, 16)
_RADIUS_MM = (9.0, 22.0)

Floats = NDArray[np.float64]


def outside_span(head: Head, seed: int) -> tuple[Floats, float]:
    """Offsets (V, 3) of a neutral face, mm, and their root mean square over the face.

    Random smooth bumps along the normals, of which the part that the head's archetypes and modes can show is removed.
    """
    rng = np.random.default_rng([seed, 2])
    template = np.asarray(head.template_v3, np.float64)
    face, basis = _face(head), _span(head)
    bumps = np.zeros(len(template))
    for _ in range(rng.integers(*_BUMPS)):
        centre, radius = template[rng.choice(np.flatnonzero(face > 0.9))], rng.uniform(*_RADIUS_MM)
        bumps += rng.normal() * np.exp(-(((template - centre) / radius) ** 2).sum(1))
    offset = (bumps * face)[:, None] * _normals(head)
    for _ in range(2):  # the fade to the rest of the head brings back a little of the span
        flat = offset.ravel()
        offset = (flat - basis @ (basis.T @ flat)).reshape(-1, 3) * np.sqrt(face)[:, None]
    size = float(np.sqrt((offset[face > 0.5] ** 2).sum(1).mean()))
    wanted = rng.uniform(*AMPLITUDE_MM)
    return quantize(offset * (wanted / max(size, 1e-9)), POINT_BITS), round(wanted, 3)


@functools.lru_cache(maxsize=2)
def _span(head: Head) -> Floats:
    """Orthonormal basis (3 V, k) of the offsets that archetypes and modes span, where the face moves."""
    both = np.concatenate([head.archetypes_av3, head.modes_mv3]).astype(np.float64) * _face(head)[:, None] ** 0.5
    axes, size, _ = np.linalg.svd(both.reshape(len(both), -1).T, full_matrices=False)
    return np.asarray(axes[:, size > 1e-6 * size[0]])


@functools.lru_cache(maxsize=2)
def _face(head: Head) -> Floats:
    """1 on the face, falling smoothly to 0 beyond it (V); 0 in eyes, mouth and lids' and nostrils' insides."""
    from mosar.models.head.occlusion import neighbour_means

    inside = head.region("face") if "face" in head.region_names else np.ones(len(head.template_v3), bool)
    kept = inside & ~np.isin(np.arange(len(inside)), head.triangles_f3[head.material_f != 0])
    if "interior" in head.region_names:
        kept = kept & ~head.region("interior")
    weight = kept.astype(np.float64)
    for _ in range(12):
        weight = np.minimum(weight, neighbour_means(head, weight[:, None])[:, 0])
    return weight


@functools.lru_cache(maxsize=2)
def _normals(head: Head) -> Floats:
    import torch

    from mosar.models.head.morph import vertex_normals

    template = torch.from_numpy(np.asarray(head.template_v3, np.float64))[None]
    return np.asarray(vertex_normals(template, torch.tensor(head.triangles_f3))[0].numpy())
