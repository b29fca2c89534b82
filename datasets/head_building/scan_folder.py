"""Statistics of a folder of registered scans: OBJ files of one topology.

    people/NAME.obj       neutral faces, at least three; +x the subject's left, +y up, +z out of the face
    neutral.obj           optional: the face to which the expressions belong; the first of people/ without it
    expressions/NAME.obj  optional: that face with one expression at full strength, by ARKit name

Groups or materials named ``left_eye``, ``right_eye``, ``upper_teeth`` and ``lower_teeth`` are those parts; ``hidden``
is neither part nor visible skin; everything else is skin.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mosar.datasets.head_building.scans import PARTS, Scans
from mosar.datasets.obj import ObjFile, read_obj
from mosar.errors import DataError

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_FEWEST = 3
_MODES = 100
_ROUNDS = 3  # of the alignment of all people to their mean
_HIDDEN = "hidden"


def read_folder(folder: Path, unit_mm: float) -> Scans:
    """Principal components of a folder's people, after a rigid alignment of each to their mean.

    Args:
        unit_mm: millimetres of one unit of the files.

    Raises:
        DataError: a file is missing or faulty, or has another topology; the message names it.
    """
    paths = sorted((folder / "people").glob("*.obj"))
    if len(paths) < _FEWEST:
        raise DataError(f"{folder}: {len(paths)} OBJ files in people/, expected at least {_FEWEST}")
    first = read_obj(paths[0])
    people_pv3 = np.stack([_vertices(path, first) for path in paths]) * unit_mm
    skin_f3, all_f3, parts = _triangles(paths[0], first)
    skin_v = np.unique(skin_f3)
    for _ in range(_ROUNDS):
        mean_v3 = people_pv3.mean(0)
        people_pv3 = np.stack([_aligned(person, mean_v3, skin_v) for person in people_pv3])
    mean_v3 = people_pv3.mean(0)
    _, singular, right = np.linalg.svd((people_pv3 - mean_v3).reshape(len(paths), -1), full_matrices=False)
    count = min(_MODES, len(paths) - 1)
    modes = right[:count] * singular[:count, None] / np.sqrt(len(paths) - 1)
    neutral = folder / "neutral.obj"
    rest_v3 = _vertices(neutral if neutral.is_file() else paths[0], first) * unit_mm
    turn, _ = _motion(rest_v3[skin_v], mean_v3[skin_v])
    expressions = {
        path.stem: ((_vertices(path, first) * unit_mm - rest_v3) @ turn).astype(np.float32)
        for path in sorted((folder / "expressions").glob("*.obj"))
    }
    return Scans(
        name=folder.resolve().name,
        mean_v3=mean_v3,
        skin_f3=skin_f3,
        all_f3=all_f3,
        modes_mv3=modes.reshape(count, *mean_v3.shape).astype(np.float32),
        expressions=expressions,
        parts=parts,
    )


def _vertices(path: Path, first: ObjFile) -> Array:
    found = read_obj(path)
    if found.vertices_v3.shape != first.vertices_v3.shape:
        raise DataError(
            f"{path}: {len(found.vertices_v3)} vertices, expected the first person's {len(first.vertices_v3)}"
        )
    if [[v for v, _ in p] for p in found.polygons] != [[v for v, _ in p] for p in first.polygons]:
        raise DataError(f"{path}: its faces are not the first person's; expected the same vertices in the same order")
    return found.vertices_v3


def _triangles(path: Path, mesh: ObjFile) -> tuple[Index, Index, dict[str, Index]]:
    corners: dict[str, list[tuple[int, int, int]]] = {}
    for polygon, group in zip(mesh.polygons, mesh.groups, strict=True):
        name = group.lower()
        name = name if name in (*PARTS, _HIDDEN) else "skin"
        fan = [(polygon[0][0], polygon[i][0], polygon[i + 1][0]) for i in range(1, len(polygon) - 1)]
        corners.setdefault(name, []).extend(fan)
    if "skin" not in corners:
        raise DataError(f"{path}: no faces of skin")
    every = {name: np.array(found, np.int64) for name, found in corners.items()}
    parts = {name: np.unique(every[name]) for name in PARTS if name in every}
    return every["skin"], np.concatenate(list(every.values())), parts


def _aligned(person_v3: Array, mean_v3: Array, skin_v: Index) -> Array:
    turn, shift = _motion(person_v3[skin_v], mean_v3[skin_v])
    return np.asarray(person_v3 @ turn + shift)


def _motion(points_n3: Array, goals_n3: Array) -> tuple[Array, Array]:
    """Rotation (3 3) and shift (3) with ``points @ turn + shift`` nearest to the goals (Kabsch 1976)."""
    centre, goal = points_n3.mean(0), goals_n3.mean(0)
    left, _, right = np.linalg.svd((points_n3 - centre).T @ (goals_n3 - goal))
    turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    return turn, goal - centre @ turn
