"""Registered meshes: read them, check their topology and chart against the head, and move them to the head frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mosar.datasets.obj import Corner, read_obj
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
        """The motion that moves source points closest to target points in least squares (Kabsch 1976)."""
        a, b = source_n3.mean(0), target_n3.mean(0)
        rotation = Rotation.align_vectors(target_n3 - b, source_n3 - a)[0].as_matrix()
        return Motion(rotation, b - rotation @ a)


def read_mesh(path: Path, head: Head, unit_mm: float) -> Points:
    """Vertices (V 3) in mm of an OBJ file that is registered to ``head``: its vertices, in its order.

    If the file has faces, they must run along the head's edges (quads are allowed), and their UV must match the chart.

    Raises:
        DataError: the file is unreadable, or has another topology or another chart.
    """
    found = read_obj(path)
    vertices = found.vertices_v3
    if len(vertices) != len(head.template_v3):
        raise DataError(
            f"{path.name} has {len(vertices)} vertices, expected the {len(head.template_v3)} of head {head.name}: "
            "register the scan to it, or build a head file of your topology with jobs/make_head.py"
        )
    if found.polygons:
        _check_edges(path, head, found.polygons)
        if len(found.uv_w2):
            _check_chart(path, head, found.polygons, found.uv_w2)
    return vertices * unit_mm


def to_head_frame(neutral_v3: Points, head: Head) -> Motion:
    """The motion of a neutral mesh to the head frame: its face is fitted to the template, then its eyes are aligned."""
    face = head.region("face") if "face" in head.region_names else np.ones(len(neutral_v3), bool)
    motion = Motion.fit(neutral_v3[face], head.template_v3[face].astype(np.float64))
    eyes = np.unique(head.triangles_f3[head.material_f == 1])
    if not len(eyes):
        return motion
    off = motion(neutral_v3)[eyes].mean(0) - head.template_v3[eyes].astype(np.float64).mean(0)
    return Motion(motion.rotation_33, motion.shift_3 - off)


def onto(mesh_v3: Points, neutral_v3: Points, head: Head) -> Motion:
    """The motion of a mesh with an expression onto its neutral, fitted to regions that expressions do not move."""
    still = np.zeros(len(mesh_v3), bool)
    for name in _RIGID:
        if name in head.region_names:
            still |= head.region(name)
    if not still.any():
        still[:] = True
    return Motion.fit(mesh_v3[still], neutral_v3[still])


def check_frame(neutral_v3: Points, head: Head) -> None:
    """Check that a neutral mesh has the size of a head in mm and lies in the head frame; raises DataError if not."""
    size = float(np.linalg.norm(neutral_v3.std(0)) / np.linalg.norm(head.template_v3.std(0)))
    if not _SIZES[0] < size < _SIZES[1]:
        raise DataError(f"neutral.obj is {size:.3g} times as large as the head {head.name}; is unit_mm right?")
    motion = to_head_frame(neutral_v3, head)
    moved = float(np.linalg.norm(motion.shift_3))
    if motion.degrees > _LARGEST_TURN or moved > _FARTHEST_MM:
        raise DataError(
            f"neutral.obj is rotated by {motion.degrees:.0f} degrees and moved by {moved:.0f} mm from the head frame; "
            'set "frame": "world" in studio.json'
        )


def write_mesh(path: Path, head: Head, vertices_v3: NDArray[np.floating]) -> None:
    """Write an OBJ file in the head's topology and chart; float32 coordinates are read back unchanged."""
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices_v3.tolist()]
    lines += [f"vt {u:.9g} {v:.9g}" for u, v in head.uv_w2.tolist()]
    for material, name in enumerate(head.material_names):
        lines.append(f"g {name}")
        here = head.material_f == material
        pairs = zip((head.triangles_f3[here] + 1).tolist(), (head.uv_triangles_f3[here] + 1).tolist(), strict=True)
        lines += ["f " + " ".join(f"{v}/{w}" for v, w in zip(vs, ws, strict=True)) for vs, ws in pairs]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _check_edges(path: Path, head: Head, corners: list[list[Corner]]) -> None:
    t = np.sort(np.concatenate([head.triangles_f3[:, [i, (i + 1) % 3]] for i in range(3)]), 1)
    known = set((t[:, 0] * len(head.template_v3) + t[:, 1]).tolist())
    for polygon in corners:
        names = [vertex for vertex, _ in polygon]
        for a, b in zip(names, names[1:] + names[:1], strict=True):
            if min(a, b) * len(head.template_v3) + max(a, b) not in known:
                raise DataError(
                    f"{path.name}: a face has an edge from vertex {a + 1} to {b + 1} that head {head.name} lacks: "
                    "the vertices are not in the head's order"
                )


def _check_chart(path: Path, head: Head, corners: list[list[Corner]], places_w2: Points) -> None:
    """Check that the UV of every skin corner match the head's chart; a vertex on a seam has several UV."""
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
