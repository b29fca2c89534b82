"""Wavefront OBJ files as arrays.

Libraries triangulate, merge vertices, or drop group names and vertices without faces; registered meshes need all of
them as the file has them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosar.errors import DataError

Corner = tuple[int, int]
"""Vertex, and UV or -1; both count from 0."""


@dataclass(frozen=True, eq=False)
class ObjFile:
    """Content of an OBJ file.

    Attributes:
        vertices_v3: in the file's unit, finite.
        uv_w2: texture coordinates.
        polygons: corners of each face.
        groups: of each face, the last name that ``g``, ``o`` or ``usemtl`` gave; empty before the first.
    """

    vertices_v3: NDArray[np.float64]
    uv_w2: NDArray[np.float64]
    polygons: list[list[Corner]]
    groups: list[str]


def read_obj(path: Path) -> ObjFile:
    """Read an OBJ file; normals, lines and free-form geometry are ignored.

    Raises:
        DataError: the file is missing or unreadable, an index is out of range, or a vertex is not finite.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read ({error})") from error
    vertices: list[tuple[float, float, float]] = []
    places: list[tuple[float, float]] = []
    found = ObjFile(np.empty(0), np.empty(0), [], [])
    group = ""
    for number, line in enumerate(lines, 1):
        kind, *words = line.split() or [""]
        try:
            if kind == "v":
                x, y, z = (float(word) for word in words[:3])
                vertices.append((x, y, z))
            elif kind == "vt":
                u, v = (float(word) for word in words[:2])
                places.append((u, v))
            elif kind in ("g", "o", "usemtl"):
                group = words[0] if words else ""
            elif kind == "f":
                found.polygons.append([_corner(word, len(vertices), len(places)) for word in words])
                found.groups.append(group)
        except ValueError as error:
            raise DataError(f"{path.name}, line {number}: {error} in {line.strip()[:60]!r}") from error
    points = np.array(vertices).reshape(-1, 3)
    if not np.isfinite(points).all():
        bad = int(np.flatnonzero(~np.isfinite(points).all(axis=1))[0])
        raise DataError(f"{path.name}: vertex {bad + 1} is not finite: {points[bad].tolist()}")
    return ObjFile(points, np.array(places).reshape(-1, 2), found.polygons, found.groups)


def _corner(word: str, vertices: int, places: int) -> Corner:
    vertex, place = (*word.split("/"), "")[:2]
    return _index(vertex, vertices, "vertex"), _index(place, places, "UV") if place else -1


def _index(word: str, count: int, what: str) -> int:
    """An index that counts from 1, or backwards from the last element, as one that counts from 0."""
    index = int(word)
    index = index - 1 if index > 0 else count + index
    if not 0 <= index < count:
        raise ValueError(f"{what} {word} does not exist")
    return index
