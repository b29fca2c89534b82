"""Intended texel density of the parts of the head: eyes, nose and mouth get more of the chart than the scalp."""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Array = npt.NDArray[np.float64]

_FACE, _FEATURES, _EARS, _ELSEWHERE, _INTERIOR = 1.0, 1.25, 0.3, 0.16, 0.15
_ROUNDS = 6


def intended_scale(
    triangles_f3: npt.NDArray[np.int64], region_names: tuple[str, ...], regions_rv: npt.NDArray[np.bool_]
) -> Array:
    """Intended chart length per unit length on each of the given triangles (F), up to a common factor."""
    masks = dict(zip(region_names, regions_rv, strict=True))
    scale_v = np.full(regions_rv.shape[1], _ELSEWHERE)
    scale_v[masks["ears"]] = _EARS
    scale_v[masks["face"]] = _FACE
    scale_v[masks["eyes"] | masks["lips"] | masks["nose"] | masks["mouth"]] = _FEATURES
    scale_v[masks["interior"]] = _INTERIOR
    edges = np.concatenate([triangles_f3[:, [i, j]] for i in range(3) for j in range(3) if i != j])
    neighbours = sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(scale_v),) * 2).tocsr()
    neighbours.data[:] = 1
    degree = np.maximum(np.asarray(neighbours.sum(1)).ravel(), 1)
    for _ in range(_ROUNDS):
        scale_v = 0.5 * scale_v + 0.5 * (neighbours @ scale_v) / degree
    return np.asarray(scale_v[triangles_f3].mean(1))
