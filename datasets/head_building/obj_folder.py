"""Read a head of any topology from a folder of OBJ files.

    neutral.obj           required; triangles or polygons with UV, head frame (+x the subject's left, +y up, +z out of
                          the face); groups or materials named ``eyes`` and ``mouth`` (teeth, tongue) become those
                          materials, everything else is skin
    archetypes/NAME.obj   whole people, mixed by convex weights; without any, the neutral is the only one
    modes/NAME.obj        the neutral with one change; the change is a mode
    expressions/NAME.obj  the neutral with one expression at full strength; NAME is its ARKit name
    eyes.png, mouth.png   sRGB maps of those materials; plain colours without these files

Every OBJ file has the neutral's vertices in the neutral's order. The folder ``FaceXModel`` of ICT-FaceKit is read as it
comes: ``generic_neutral_mesh.obj`` is the neutral, ``identity*.obj`` are modes of deviation one, the other files are
expressions. UV may span several UDIM tiles.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosar.datasets.head_building import udim
from mosar.datasets.head_building.scans import expression_table
from mosar.datasets.obj import read_obj
from mosar.errors import DataError
from mosar.models.head import expressions

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

MATERIALS = ("skin", "eyes", "mouth")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "eyes": ("eyes", "M_ScleraLeft", "M_ScleraRight", "M_IrisLeft", "M_IrisRight"),
    "mouth": ("mouth", "M_Teeth", "M_GumsTongue"),
    "left_out": ("left_out", "M_EyeBlend", "M_EyeLashes", "M_EyeOcclusion", "M_LacrimalFluid"),
}
"""Names of groups or materials by what becomes of their faces, upper or lower case; others are skin."""
_ICT_NEUTRAL, _ICT_MODES = "generic_neutral_mesh.obj", "identity*.obj"
_PLAIN = {"eyes": (225, 220, 214), "mouth": (168, 92, 90)}


@dataclasses.dataclass(frozen=True)
class ObjMesh:
    """Vertices (V 3), UV (W 2), triangles into both (F 3), and the material of each triangle (F)."""

    vertices_v3: Array
    uv_w2: Array
    triangles_f3: Index
    uv_triangles_f3: Index
    material_f: Index


def read_obj_folder(
    folder: Path, unit_mm: float = 1.0, mode_std: float = 0.3, groups: Mapping[str, tuple[str, ...]] = GROUPS
) -> tuple[dict[str, Any], list[str]]:
    """Fields of a head, all but landmarks, regions and parts; and notes on what the folder lacks.

    Args:
        unit_mm: millimetres of one unit of the files.
        mode_std: standard deviation of every mode's weight; the file has weight one. ICT-FaceKit's have one.
        groups: names of groups or materials by what they become: ``eyes``, ``mouth``, ``left_out``.

    Raises:
        DataError: a file is missing or faulty; the message names the file and its fault.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder; expected one with neutral.obj")
    files = _files(folder)
    path = files.neutral
    neutral = _packed(path, read_mesh(path, groups))
    _check_manifold(path, neutral)
    changes = {kind: _offsets(found, neutral, groups) for kind, found in files.changes.items()}
    table = expression_table(expressions.NAMES, changes["expressions"])
    named = {ours: np.sum([changes["expressions"][n] for n in theirs], 0) for ours, theirs in table.items()}
    used = {name for theirs in table.values() for name in theirs}
    others = [name for name in changes["expressions"] if name not in used]
    if not files.is_ict:
        named |= {name: changes["expressions"][name] for name in others}
    changes["expressions"] = named
    missing = [name for name in expressions.NAMES if name not in named]
    notes = [f"no {kind}/*.obj" for kind, found in changes.items() if not found]
    if missing and named:
        notes.append(f"{len(missing)} of {len(expressions.NAMES)} expressions: {', '.join(missing)}")
    if files.is_ict and others:
        notes.append(f"an ARKit name for {', '.join(others)}: left out")
    notes += [f"no triangles of material {m}" for i, m in enumerate(MATERIALS) if not (neutral.material_f == i).any()]
    # without archetypes the neutral is the only one, with weight one
    archetypes = changes["archetypes"] or {"neutral": np.zeros_like(neutral.vertices_v3)}
    fields: dict[str, Any] = {
        "name": folder.resolve().name,
        "template_v3": (neutral.vertices_v3 * unit_mm).astype(np.float32),
        "triangles_f3": neutral.triangles_f3,
        "material_f": neutral.material_f,
        "material_names": MATERIALS,
        "uv_w2": neutral.uv_w2.astype(np.float32),
        "uv_triangles_f3": neutral.uv_triangles_f3,
        "mode_std_m": np.full(len(changes["modes"]), 1.0 if files.is_ict else mode_std, np.float32),
    }
    for kind, stem in (("archetypes", "a"), ("modes", "m"), ("expressions", "e")):
        found = archetypes if kind == "archetypes" else changes[kind]
        fields[f"{kind[:-1]}_names"] = tuple(found)
        offsets = np.array(list(found.values())).reshape(len(found), *neutral.vertices_v3.shape)
        fields[f"{kind}_{stem}v3"] = (offsets * unit_mm).astype(np.float32)
    for material in MATERIALS[1:]:
        fields[f"{material}_albedo_hw3"], note = _map(folder / f"{material}.png", _PLAIN[material])
        notes += [note] if note else []
    return fields, [*notes, "no lashes: folders hold none"]


@dataclasses.dataclass(frozen=True)
class _Files:
    """The neutral, and the files of archetypes, modes and expressions."""

    neutral: Path
    changes: dict[str, list[Path]]
    is_ict: bool


def _files(folder: Path) -> _Files:
    kinds = ("archetypes", "modes", "expressions")
    if (folder / "neutral.obj").is_file():
        return _Files(folder / "neutral.obj", {k: sorted((folder / k).glob("*.obj")) for k in kinds}, False)
    if (folder / _ICT_NEUTRAL).is_file():
        modes = sorted(folder.glob(_ICT_MODES))
        rest = [p for p in sorted(folder.glob("*.obj")) if p not in modes and p.name != _ICT_NEUTRAL]
        return _Files(folder / _ICT_NEUTRAL, {"archetypes": [], "modes": modes, "expressions": rest}, True)
    raise DataError(f"{folder}: neutral.obj is missing; expected OBJ files as jobs/make_head.py --help lists them")


def read_mesh(path: Path, groups: Mapping[str, tuple[str, ...]] = GROUPS) -> ObjMesh:
    """Read one OBJ file; polygons are split into fans of triangles, vertices of left-out groups are dropped.

    Raises:
        DataError: the file is unreadable, has no faces, an index out of range or a non-finite vertex.
    """
    found = read_obj(path)
    if not found.polygons:
        raise DataError(f"{path.name}: no faces")
    of_group = {name.lower(): kind for kind, names in groups.items() for name in names}
    corners, materials = [], []
    left_out: set[int] = set()
    for polygon, group in zip(found.polygons, found.groups, strict=True):
        kind = of_group.get(group.lower(), MATERIALS[0])
        if kind not in MATERIALS:
            left_out.update(vertex for vertex, _ in polygon)
            continue
        for i in range(1, len(polygon) - 1):
            corners.append((polygon[0], polygon[i], polygon[i + 1]))
            materials.append(MATERIALS.index(kind))
    if not corners:
        raise DataError(f"{path.name}: every face belongs to a group that is left out")
    index_f32 = np.array(corners)
    triangles_f3 = index_f32[..., 0]
    kept = np.ones(len(found.vertices_v3), bool)
    kept[list(left_out)] = False
    kept[triangles_f3] = True
    triangles_f3 = (np.cumsum(kept) - 1)[triangles_f3]
    return ObjMesh(found.vertices_v3[kept], found.uv_w2, triangles_f3, index_f32[..., 1], np.array(materials))


def _offsets(paths: list[Path], neutral: ObjMesh, groups: Mapping[str, tuple[str, ...]]) -> dict[str, Array]:
    found = {}
    for path in paths:
        mesh = read_mesh(path, groups)
        if len(mesh.vertices_v3) != len(neutral.vertices_v3):
            raise DataError(
                f"{path}: {len(mesh.vertices_v3)} vertices, expected the neutral's {len(neutral.vertices_v3)}"
            )
        if mesh.triangles_f3.shape != neutral.triangles_f3.shape or (mesh.triangles_f3 != neutral.triangles_f3).any():
            raise DataError(f"{path}: its faces are not the neutral's; expected the same vertices in the same order")
        found[path.stem] = mesh.vertices_v3 - neutral.vertices_v3
    return found


def _packed(path: Path, mesh: ObjMesh) -> ObjMesh:
    """The mesh with every material's chart in [0, 1] x [0, 1]."""
    if not len(mesh.uv_w2) or (mesh.uv_triangles_f3 < 0).any():
        raise DataError(f"{path}: faces without UV; expected a chart of the skin")
    if not np.isfinite(mesh.uv_w2).all():
        raise DataError(f"{path}: a UV is not finite")
    used = mesh.uv_w2[mesh.uv_triangles_f3]
    if used.min() >= 0 and used.max() <= 1:
        return mesh
    if used.min() < 0:
        raise DataError(f"{path}: UV in [{used.min():.3f}, {used.max():.3f}], expected [0, 1], or UDIM tiles above 0")
    uv_w2, uv_triangles_f3 = udim.pack(mesh.uv_w2, mesh.uv_triangles_f3, mesh.material_f, str(path))
    return dataclasses.replace(mesh, uv_w2=uv_w2, uv_triangles_f3=uv_triangles_f3)


def _check_manifold(path: Path, mesh: ObjMesh) -> None:
    """Check the skin; teeth and eyeballs are only drawn."""
    skin_f3 = mesh.triangles_f3[mesh.material_f == 0]
    edges = np.concatenate([skin_f3[:, [i, (i + 1) % 3]] for i in range(3)])
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
