"""Turn bands of quads that represent rows of eyelashes into single hairs."""

import numpy as np
import numpy.typing as npt

from mosar.errors import DataError

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_ACROSS = 4  # quads from the inside of the lid to the tips
_ROOT = 1.0  # row, counted from the inner edge, at which a hair leaves the lid
_POINTS = 5
_REACH = (0.08, 0.86)  # part of the band with hairs, from the inner corner of the eye: it ends with the lid's rim


def hairs(poses_pv3: Array, quads_q4: Index, count: int, rng: np.random.Generator) -> Array:
    """Polylines (P ``count`` K 3) from root to tip along a left eye's band in several poses; lengths vary.

    The band is a grid four quads wide.

    Raises:
        DataError: the band is not such a grid.
    """
    grid_cr = _grid(poses_pv3[0], quads_q4)
    columns, rows = grid_cr.shape
    share_h1 = (np.arange(count) + rng.uniform(0.1, 0.9, count))[:, None] / count
    along_h1 = (_REACH[0] + share_h1 * (_REACH[1] - _REACH[0])) * (columns - 1)
    tip_h1 = rng.uniform(0.78, 1.0, (count, 1)) * (rows - 1 - _ROOT)
    across_hk = _ROOT + tip_h1 * np.linspace(0, 1, _POINTS)
    lean_hk = along_h1 + rng.normal(0, 0.06, (count, 1)) * (across_hk - _ROOT)
    return _between(poses_pv3[:, grid_cr], lean_hk.clip(0, columns - 1), across_hk)


def _grid(vertices_v3: Array, quads_q4: Index) -> Index:
    """Vertex numbers by column along the lid, outwards, and by row across it, from the inside of the lid."""
    used, flat = np.unique(quads_q4, return_inverse=True)
    quads = flat.reshape(-1, 4)
    distance_vv = _steps(len(used), quads)
    corners = np.flatnonzero(np.bincount(quads.ravel()) == 1)
    ends = [(a, b) for a in corners for b in corners if a < b and distance_vv[a, b] == _ACROSS]
    if len(corners) != 4 or len(ends) != 2:
        raise DataError(f"a band of lashes with {len(quads)} quads is not a grid {_ACROSS} quads wide")
    first, last = ends[0]
    # The steps from the two corners of one end to a vertex are column + row and column + width - row.
    column = (distance_vv[first] + distance_vv[last] - _ACROSS) // 2
    row = (distance_vv[first] - distance_vv[last] + _ACROSS) // 2
    grid_cr = np.empty((column.max() + 1, _ACROSS + 1), np.int64)
    grid_cr[column, row] = used
    x_cr, z_cr = vertices_v3[grid_cr][..., 0], vertices_v3[grid_cr][..., 2]
    grid_cr = grid_cr[::-1] if x_cr[0].mean() > x_cr[-1].mean() else grid_cr
    return grid_cr[:, ::-1] if z_cr[:, 0].mean() > z_cr[:, -1].mean() else grid_cr


def _steps(count: int, quads_q4: Index) -> Index:
    """Number of edges (V V) on the shortest path between vertices."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import shortest_path

    start, end = quads_q4.ravel(), np.roll(quads_q4, -1, 1).ravel()
    graph = coo_matrix((np.ones(len(start)), (start, end)), (count, count))
    return np.asarray(shortest_path(graph.tocsr(), directed=False, unweighted=True)).astype(np.int64)


def _between(grid_pcr3: Array, column_hk: Array, row_hk: Array) -> Array:
    """Interpolate the grid bilinearly."""
    c = np.minimum(column_hk.astype(int), grid_pcr3.shape[1] - 2)
    r = np.minimum(row_hk.astype(int), grid_pcr3.shape[2] - 2)
    u, v = (column_hk - c)[..., None], (row_hk - r)[..., None]
    low = grid_pcr3[:, c, r] * (1 - u) + grid_pcr3[:, c + 1, r] * u
    high = grid_pcr3[:, c, r + 1] * (1 - u) + grid_pcr3[:, c + 1, r + 1] * u
    return np.asarray(low * (1 - v) + high * v)
