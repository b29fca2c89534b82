"""Registered meshes: that they are the head's, and where the head frame is in them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosar.errors import DataError
from mosar.models.head import Head

Points = NDArray[np.float64]

_LARGEST_TURN, _FARTHEST_MM = 20.0, 60.0
_SIZES = (0.75, 1.35)
_RIGID = ("scalp", "ears", "forehead")


@dataclass(frozen=True, eq=False)
class Motion:
    """A rigid motion: x' = ``rotation_33`` x + ``shift_3``."""

    rotation_33: Points
    shift_3: Points

    def __call__(self, points_n3: Points) -> Points:
        return points_n3 @ self.rotation_33.T + self.shift_3

    @property
    def degrees(self) -> float:
        return float(np.degrees(np.arccos(np.clip((np.trace(self.rotation_33) - 1) / 2, -1, 1))))

    @staticmethod
    def none() -> "Motion":
        return Motion(np.eye(3), np.zeros(3))

    @staticmethod
    def fit(source_n3: Points, target_n3: Points) -> "Motion":
        """The motion that brings points closest to others (Kabsch 1976)."""
        a, b = source_n3.mean(0), target_n3.mean(0)
        u, _, vt = np.linalg.svd((source_n3 - a).T @ (target_n3 - b))
        flip = np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))])
        rotation = vt.T @ flip @ u.T
        return Motion(rotation, b - rotation @ a)


def read_mesh(path: Path, head: Head, unit_mm: float) -> Points:
    """Vertices (V 3) in mm of an OBJ file that is registered to ``head``: its vertices, in its order.

    Faces, if the file has any, must run along the head's edges (quads are fine), and their UV be the head's chart.

    Raises:
        DataError: unreadable, another topology or another chart.
    """
    vertices, places, corners = _parse(path)
    if len(vertices) != len(head.template_v3):
        raise DataError(
            f"{path.name} has {len(vertices)} vertices, expected the {len(head.template_v3)} of head {head.name}: "
            "register the scan to it, or build a head file of your topology with jobs/make_head.py"
        )
    if not np.isfinite(vertices).all():
        raise DataError(
            f"{path.name}: vertex {int(np.flatnonzero(~np.isfinite(vertices).all(1))[0]) + 1} is not finite"
        )
    if corners:
        _check_edges(path, head, corners)
        if len(places):
            _check_chart(path, head, corners, places)
    return vertices * unit_mm


def to_head_frame(neutral_v3: Points, head: Head) -> Motion:
    """From wherever a neutral mesh is to the head frame: as the template lies, eyes about the origin."""
    face = head.region("face") if "face" in head.region_names else np.ones(len(neutral_v3), bool)
    motion = Motion.fit(neutral_v3[face], head.template_v3[face].astype(np.float64))
    eyes = np.unique(head.triangles_f3[head.material_f == 1])
    if not len(eyes):
        return motion
    off = motion(neutral_v3)[eyes].mean(0) - head.template_v3[eyes].astype(np.float64).mean(0)
    return Motion(motion.rotation_33, motion.shift_3 - off)


def onto(mesh_v3: Points, neutral_v3: Points, head: Head) -> Motion:
    """From wherever a mesh with an expression is to where its neutral is, by what expressions do not move."""
    still = np.zeros(len(mesh_v3), bool)
    for name in _RIGID:
        if name in head.region_names:
            still |= head.region(name)
    if not still.any():
        still[:] = True
    return Motion.fit(mesh_v3[still], neutral_v3[still])


def check_frame(neutral_v3: Points, head: Head) -> None:
    """Raises DataError where a neutral mesh is no head in millimetres, or does not look along +z."""
    size = float(np.linalg.norm(neutral_v3.std(0)) / np.linalg.norm(head.template_v3.std(0)))
    if not _SIZES[0] < size < _SIZES[1]:
        raise DataError(f"neutral.obj is {size:.3g} times as large as the head {head.name}; is unit_mm right?")
    motion = to_head_frame(neutral_v3, head)
    moved = float(np.linalg.norm(motion.shift_3))
    if motion.degrees > _LARGEST_TURN or moved > _FARTHEST_MM:
        raise DataError(
            f"neutral.obj is turned by {motion.degrees:.0f} degrees and moved by {moved:.0f} mm from the head frame; "
            'say "frame": "world" in studio.json'
        )


def write_mesh(path: Path, head: Head, vertices_v3: NDArray[np.floating]) -> None:
    """An OBJ file in the head's topology and chart; float32 coordinates come back as they are."""
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices_v3.tolist()]
    lines += [f"vt {u:.9g} {v:.9g}" for u, v in head.uv_w2.tolist()]
    for material, name in enumerate(head.material_names):
        lines.append(f"g {name}")
        here = head.material_f == material
        pairs = zip((head.triangles_f3[here] + 1).tolist(), (head.uv_triangles_f3[here] + 1).tolist(), strict=True)
        lines += ["f " + " ".join(f"{v}/{w}" for v, w in zip(vs, ws, strict=True)) for vs, ws in pairs]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


Corner = tuple[int, int]


def _parse(path: Path) -> tuple[Points, Points, list[list[Corner]]]:
    """Vertices, UV, and polygons as corners (vertex, UV or -1)."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path.name} is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read ({error})") from error
    vertices, places = [], []
    corners: list[list[Corner]] = []
    for number, line in enumerate(lines, 1):
        words = line.split()
        try:
            if words[:1] == ["v"]:
                x, y, z = (float(w) for w in words[1:4])
                vertices.append((x, y, z))
            elif words[:1] == ["vt"]:
                u, v = (float(w) for w in words[1:3])
                places.append((u, v))
            elif words[:1] == ["f"]:
                corners.append([_corner(word) for word in words[1:]])
        except ValueError as error:
            raise DataError(f"{path.name}, line {number}: {error} in {line.strip()[:60]!r}") from error
    return np.array(vertices).reshape(-1, 3), np.array(places).reshape(-1, 2), corners


def _corner(word: str) -> Corner:
    vertex, _, rest = word.partition("/")
    place = rest.partition("/")[0]
    if int(vertex) < 1 or (place and int(place) < 1):
        raise ValueError("relative indices are not read")
    return int(vertex) - 1, int(place) - 1 if place else -1


def _check_edges(path: Path, head: Head, corners: list[list[Corner]]) -> None:
    t = np.sort(np.concatenate([head.triangles_f3[:, [i, (i + 1) % 3]] for i in range(3)]), 1)
    known = set((t[:, 0] * len(head.template_v3) + t[:, 1]).tolist())
    for polygon in corners:
        names = [vertex for vertex, _ in polygon]
        for a, b in zip(names, names[1:] + names[:1], strict=True):
            if min(a, b) * len(head.template_v3) + max(a, b) not in known:
                raise DataError(
                    f"{path.name}: its face from vertex {a + 1} to {b + 1} runs along no edge of head {head.name}: "
                    "the vertices are not in the head's order"
                )


def _check_chart(path: Path, head: Head, corners: list[list[Corner]], places_w2: Points) -> None:
    """Every corner of the skin lies where the head's chart has it; at seams a vertex has several places."""
    skin = head.material_f == 0
    chart: dict[int, list[NDArray[np.float32]]] = {}
    pairs = np.stack([head.triangles_f3[skin], head.uv_triangles_f3[skin]], -1).reshape(-1, 2)
    for vertex, place in np.unique(pairs, axis=0).tolist():
        chart.setdefault(vertex, []).append(head.uv_w2[place])
    for vertex, place in {corner for polygon in corners for corner in polygon}:
        if vertex in chart and 0 <= place < len(places_w2):
            off = min(float(np.abs(places_w2[place] - uv).max()) for uv in chart[vertex])
            if off > 1e-3:
                raise DataError(
                    f"{path.name}: UV {place + 1} of vertex {vertex + 1} is {off:.3f} off the chart of head "
                    f"{head.name}; bake the maps into that chart"
                )
