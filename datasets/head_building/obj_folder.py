"""Read a head of any topology from a folder of OBJ files.

    neutral.obj           required; triangles or polygons with UV, head frame (+x the subject's left, +y up, +z out of
                          the face); groups or materials named ``eyes`` and ``mouth`` (teeth, tongue) become those
                          materials, everything else is skin
    archetypes/NAME.obj   whole people, mixed by convex weights; without any, the neutral is the only one
    modes/NAME.obj        the neutral with one change; the change is a mode
    expressions/NAME.obj  the neutral with one expression at full strength; NAME is its ARKit name
    eyes.png, mouth.png   sRGB maps of those materials; plain colours without these files

Every OBJ file has the neutral's vertices in the neutral's order.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosar.datasets.obj import read_obj
from mosar.errors import DataError
from mosar.models.head import expressions

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_MATERIALS = ("skin", "eyes", "mouth")
_PLAIN = {"eyes": (225, 220, 214), "mouth": (168, 92, 90)}


@dataclasses.dataclass(frozen=True)
class ObjMesh:
    """Vertices (V 3), UV (W 2), triangles into both (F 3), and the material of each triangle (F)."""

    vertices_v3: Array
    uv_w2: Array
    triangles_f3: Index
    uv_triangles_f3: Index
    material_f: Index


def read_obj_folder(folder: Path, unit_mm: float = 1.0, mode_std: float = 0.3) -> tuple[dict[str, Any], list[str]]:
    """Fields of a head, all but landmarks, regions and parts; and notes on what the folder lacks.

    Args:
        unit_mm: millimetres of one unit of the files.
        mode_std: standard deviation of every mode's weight; the file has weight one.

    Raises:
        DataError: a file is missing or faulty; the message names the file and its fault.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; expected one with neutral.obj")
    path = folder / "neutral.obj"
    if not path.is_file():
        raise DataError(f"{folder}: neutral.obj is missing; expected OBJ files as jobs/make_head.py --help lists them")
    neutral = read_mesh(path)
    _check_chart(path, neutral)
    _check_manifold(path, neutral)
    changes = {kind: _offsets(folder / kind, neutral) for kind in ("archetypes", "modes", "expressions")}
    missing = [name for name in expressions.NAMES if name not in changes["expressions"]]
    notes = [f"no {kind}/*.obj" for kind, found in changes.items() if not found]
    if missing and changes["expressions"]:
        notes.append(f"{len(missing)} of {len(expressions.NAMES)} expressions: {', '.join(missing)}")
    notes += [f"no triangles of material {m}" for i, m in enumerate(_MATERIALS) if not (neutral.material_f == i).any()]
    # without archetypes the neutral is the only one, with weight one
    archetypes = changes["archetypes"] or {"neutral": np.zeros_like(neutral.vertices_v3)}
    fields: dict[str, Any] = {
        "name": folder.resolve().name,
        "template_v3": (neutral.vertices_v3 * unit_mm).astype(np.float32),
        "triangles_f3": neutral.triangles_f3,
        "material_f": neutral.material_f,
        "material_names": _MATERIALS,
        "uv_w2": neutral.uv_w2.astype(np.float32),
        "uv_triangles_f3": neutral.uv_triangles_f3,
        "mode_std_m": np.full(len(changes["modes"]), mode_std, np.float32),
    }
    for kind, stem in (("archetypes", "a"), ("modes", "m"), ("expressions", "e")):
        found = archetypes if kind == "archetypes" else changes[kind]
        fields[f"{kind[:-1]}_names"] = tuple(found)
        offsets = np.array(list(found.values())).reshape(len(found), *neutral.vertices_v3.shape)
        fields[f"{kind}_{stem}v3"] = (offsets * unit_mm).astype(np.float32)
    for material in _MATERIALS[1:]:
        fields[f"{material}_albedo_hw3"], note = _map(folder / f"{material}.png", _PLAIN[material])
        notes += [note] if note else []
    return fields, [*notes, "no lashes: folders hold none"]


def read_mesh(path: Path) -> ObjMesh:
    """Read one OBJ file; polygons are split into fans of triangles.

    Raises:
        DataError: the file is unreadable, has no faces, an index out of range or a non-finite vertex.
    """
    found = read_obj(path)
    if not found.polygons:
        raise DataError(f"{path.name}: no faces")
    corners, materials = [], []
    for polygon, group in zip(found.polygons, found.groups, strict=True):
        material = _MATERIALS.index(group.lower()) if group.lower() in _MATERIALS else 0
        for i in range(1, len(polygon) - 1):
            corners.append((polygon[0], polygon[i], polygon[i + 1]))
            materials.append(material)
    index_f32 = np.array(corners)
    return ObjMesh(found.vertices_v3, found.uv_w2, index_f32[..., 0], index_f32[..., 1], np.array(materials))


def _offsets(folder: Path, neutral: ObjMesh) -> dict[str, Array]:
    found = {}
    for path in sorted(folder.glob("*.obj")) if folder.is_dir() else []:
        mesh = read_mesh(path)
        if len(mesh.vertices_v3) != len(neutral.vertices_v3):
            raise DataError(
                f"{path}: {len(mesh.vertices_v3)} vertices, expected the neutral's {len(neutral.vertices_v3)}"
            )
        if mesh.triangles_f3.shape != neutral.triangles_f3.shape or (mesh.triangles_f3 != neutral.triangles_f3).any():
            raise DataError(f"{path}: its faces are not the neutral's; expected the same vertices in the same order")
        found[path.stem] = mesh.vertices_v3 - neutral.vertices_v3
    return found


def _check_chart(path: Path, mesh: ObjMesh) -> None:
    if not len(mesh.uv_w2) or (mesh.uv_triangles_f3 < 0).any():
        raise DataError(f"{path}: faces without UV; expected a chart of the skin in [0, 1] x [0, 1]")
    if not np.isfinite(mesh.uv_w2).all():
        raise DataError(f"{path}: a UV is not finite")
    used = mesh.uv_w2[np.unique(mesh.uv_triangles_f3)]
    if used.min() < 0 or used.max() > 1:
        raise DataError(f"{path}: UV in [{used.min():.3f}, {used.max():.3f}], expected [0, 1]")


def _check_manifold(path: Path, mesh: ObjMesh) -> None:
    edges = np.concatenate([mesh.triangles_f3[:, [i, (i + 1) % 3]] for i in range(3)])
    if (edges[:, 0] == edges[:, 1]).any():
        raise DataError(f"{path}: a face uses a vertex twice")
    unique, count = np.unique(edges, axis=0, return_counts=True)
    if count.max() > 1:
        a, b = (unique[np.argmax(count)] + 1).tolist()
        raise DataError(f"{path}: not manifold: faces share the edge from vertex {a} to {b} in the same direction")
    unused = np.setdiff1d(np.arange(len(mesh.vertices_v3)), mesh.triangles_f3)
    if len(unused):
        raise DataError(f"{path}: vertex {unused[0] + 1} belongs to no face; remove such vertices from all files")


def _map(path: Path, plain: tuple[int, int, int]) -> tuple[npt.NDArray[np.uint8], str]:
    if not path.is_file():
        return np.tile(np.array(plain, np.uint8), (8, 8, 1)), f"no {path.name}: one plain colour"
    from PIL import Image, UnidentifiedImageError

    try:
        return np.asarray(Image.open(path).convert("RGB")), ""
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f"{path}: not an image ({error})") from error
