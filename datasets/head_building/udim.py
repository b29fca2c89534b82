"""Charts that span several UDIM tiles, packed into one unit square for each material.

Legend: w chart points, f triangles.
"""

import numpy as np
import numpy.typing as npt

from mosar.errors import DataError

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_EDGE = 1e-4  # chart points may leave their tile by rounding


def pack(uv_w2: Array, uv_triangles_f3: Index, material_f: Index, where: str) -> tuple[Array, Index]:
    """Chart points and triangles with every material in [0, 1] x [0, 1].

    The tiles that a material uses are set side by side on the smallest square grid that holds them, in the order of
    their UDIM numbers; a chart in one tile keeps its size. Points that several tiles or materials use are repeated.

    Args:
        where: the file, named in errors.

    Raises:
        DataError: a triangle reaches over the edge of a tile.
    """
    corners_f32 = uv_w2[uv_triangles_f3]
    tile_f2 = np.floor(corners_f32.mean(1)).astype(np.int64)
    inside_f32 = corners_f32 - tile_f2[:, None]
    outside = (inside_f32 < -_EDGE) | (inside_f32 > 1 + _EDGE)
    if outside.any():
        bad = corners_f32[outside.any((1, 2))][0].ravel().round(3).tolist()
        raise DataError(f"{where}: a face's UV {bad} reach over the edge of a tile; expected each face within one tile")
    places_f32 = np.empty_like(corners_f32)
    for material in np.unique(material_f):
        of = material_f == material
        # v counts rows of tiles first, as UDIM numbers do
        tiles, number_n = np.unique(tile_f2[of][:, ::-1], axis=0, return_inverse=True)
        side = int(np.ceil(np.sqrt(len(tiles))))
        number_n = number_n.ravel()
        cell_n2 = np.stack([number_n % side, number_n // side], 1)
        places_f32[of] = (inside_f32[of].clip(0, 1) + cell_n2[:, None]) / side
    key_n = np.concatenate([places_f32, np.repeat(material_f, 3).reshape(-1, 3, 1)], 2).reshape(-1, 3)
    points, flat = np.unique(key_n, axis=0, return_inverse=True)
    return points[:, :2], flat.reshape(-1, 3).astype(np.int64)
