"""Make the files of an avatar (docs/avatar.md) and open them again without loss."""

import functools
import io
import json
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mosar.avatar import encode, sheet
from mosar.avatar.avatar import Avatar
from mosar.avatar.full_size import over_photograph
from mosar.avatar.glb import glb
from mosar.avatar.morph_targets import TargetSet, missed_mm
from mosar.avatar.obj import mtl, obj
from mosar.datasets import lights
from mosar.errors import DataError
from mosar.models.camera import Camera
from mosar.models.head import load_head
from mosar.models.uv import chart
from mosar.torch_threads import torch_threads

FORMAT = 3
"""Version of the file format; :func:`open_avatar` refuses others."""
OTHERS = ("eyes", "mouth")
"""Materials other than skin that have an albedo map."""
_TENSORS = ("vertices_1v3", "neutral_1v3", "light_1lc")
_CAMERA = ("intrinsics_b33", "rotation_b33", "translation_b3")


def encode_files(
    avatar: Avatar, names: Collection[str] | None = None, targets: TargetSet = "arkit"
) -> dict[str, bytes]:
    """Files by their relative paths; only those of ``names`` are made, all if None. Equal avatars give equal bytes.

    Raises:
        ValueError: there is no file of such a name.
        ConfigError: there is no such set of targets.
    """
    makers = _makers(avatar, targets)
    if unknown := set(names or ()) - set(makers):
        raise ValueError(f"files: got {', '.join(sorted(unknown))}, expected some of {', '.join(makers)}")
    # One thread, as in a reconstruction: with several torch adds in another order, which changes the last bits.
    with torch_threads(1):
        return {name: make() for name, make in makers.items() if names is None or name in names}


def _makers(avatar: Avatar, targets: TargetSet) -> dict[str, Callable[[], bytes]]:
    """What makes each file."""
    picture = functools.cache(lambda: over_photograph(avatar))
    maps = functools.cache(lambda: encode.map_arrays(avatar.maps))
    names = [*(name for name, *_ in encode.LAYOUT), *OTHERS]
    device = avatar.light_1lc.device

    def png(name: str) -> bytes:
        return encode.png(maps()[name] if name in maps() else getattr(avatar, f"{name}_hw3"))

    def drawn() -> bytes:
        lit = {name: torch.from_numpy(lights.light_sh(name)).to(device) for name in lights.HELD_OUT_LIGHTS}
        return encode.png(sheet.avatar_sheet(avatar, lit))

    return {
        "avatar.json": lambda: json.dumps(describe(avatar), indent=1).encode(),
        "avatar.npz": lambda: _tensors(avatar),
        "avatar.glb": lambda: glb(avatar, targets),
        "mesh.obj": lambda: obj(avatar).encode(),
        "mesh.mtl": lambda: mtl(avatar.head).encode(),
        **{f"maps/{name}.png": functools.partial(png, name) for name in names},
        "render.png": lambda: encode.png(picture()[0]),
        "mask.png": lambda: encode.png(picture()[1]),
        "sheet.png": drawn,
    }


def open_avatar(folder: str | Path, head: str | None = None) -> Avatar:
    """Open the avatar that was saved into a folder: bit-identical, but without the photograph and the timings.

    Args:
        folder: written by :meth:`Avatar.save`.
        head: the head file, if it is not the default one.

    Raises:
        DataError: files are missing, damaged, of another version, or belong to another head.
    """
    place = Path(folder)
    facts = _json(place)
    if facts.get("format") != FORMAT:
        got = facts.get("format")
        raise DataError(f"{place}: got an avatar of format {got}, expected {FORMAT}; reconstruct the avatar again")
    found = load_head(head)
    if facts["head_digest"] != found.digest:
        raise DataError(f"{place}: made with another head than {found.name}; give that head's file (head=...)")
    names = [name for name, *_ in encode.LAYOUT]
    arrays = {name: _png(place, f"maps/{name}.png") for name in names}
    tensors = _npz(place)
    return Avatar(
        head=found,
        vertices_1v3=tensors["vertices_1v3"],
        neutral_1v3=tensors["neutral_1v3"],
        maps=encode.maps_of(arrays),
        eyes_hw3=_albedo(place, "eyes"),
        mouth_hw3=_albedo(place, "mouth"),
        tone=facts["tone"],
        camera=Camera(*(tensors[name] for name in _CAMERA)),
        light_1lc=tensors["light_1lc"],
        expression=facts["expression"],
        width=int(facts["photo"]["width"]),
        height=int(facts["photo"]["height"]),
        bundle_digest=facts["bundle_digest"],
        timings_s={},
        remarks=tuple(facts["remarks"]),
        made_from=facts.get("made_from", {}),
    )


def describe(avatar: Avatar) -> dict[str, Any]:
    """The content of ``avatar.json``."""

    def numbers(values: torch.Tensor, digits: int) -> Any:
        return np.round(values.double().cpu().numpy(), digits).tolist()

    missed = missed_mm(avatar)
    points = [None if np.isnan(p).any() else p for p in np.round(avatar.landmarks_px().cpu().numpy(), 3)]
    texels = avatar.maps.confidence
    confidence = texels[:, :, chart(avatar.head, texels.shape[-1]).triangle_hw >= 0]
    shares = {"seen": confidence > 0.75, "mirrored": (confidence - 0.5).abs() <= 0.25, "inpainted": confidence < 0.25}
    return {
        "format": FORMAT,
        "photo": {"width": avatar.width, "height": avatar.height},
        "camera": {
            "intrinsics": numbers(avatar.camera.intrinsics_b33[0], 6),
            "rotation": numbers(avatar.camera.rotation_b33[0], 8),
            "translation_mm": numbers(avatar.camera.translation_b3[0], 5),
        },
        "light_sh": numbers(avatar.light_1lc[0], 6),
        "tone": {name: round(value, 6) for name, value in avatar.tone.items()},
        "units": {"avatar.json": "mm", "avatar.npz": "mm", "mesh.obj": "mm", "avatar.glb": "m"},
        "expression": dict(avatar.expression),
        "expression_names": list(avatar.head.expression_names),
        "expression_missed_mm": {"mean": round(missed[0], 3), "max": round(missed[1], 3)},
        "landmarks_px": [None if p is None else [float(x) for x in p] for p in points],
        "head_digest": avatar.head.digest,
        "bundle_digest": avatar.bundle_digest,
        "timings_s": {name: round(seconds, 4) for name, seconds in avatar.timings_s.items()},
        "confidence": {name: round(float(at.float().mean()), 4) for name, at in shares.items()},
        "remarks": list(avatar.remarks),
        "made_from": dict(avatar.made_from),
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive that stores the files uncompressed, because most of them already are compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _tensors(avatar: Avatar) -> bytes:
    """``avatar.npz``: exact values that the other files round or convert for other programs; no pickle."""
    values = {name: getattr(avatar, name) for name in _TENSORS} | {n: getattr(avatar.camera, n) for n in _CAMERA}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in values.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, value.cpu().numpy(), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return buffer.getvalue()


def _json(place: Path) -> dict[str, Any]:
    try:
        facts = json.loads((place / "avatar.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: no avatar here ({error}); create one with `mosar reconstruct`") from error
    if not isinstance(facts, dict):
        raise DataError(f"{place}: avatar.json is not a JSON object; reconstruct the avatar again")
    return facts


def _png(place: Path, name: str) -> Any:
    try:
        return encode.read_png((place / name).read_bytes())
    except (OSError, DataError) as error:
        raise DataError(f"{place / name}: cannot be read ({error}); reconstruct the avatar again") from error


def _albedo(place: Path, name: str) -> Any:
    """The albedo of eyes or mouth (h, w, 3), uint8."""
    array = _png(place, f"maps/{name}.png")
    if array.dtype != np.uint8 or array.ndim != 3:
        raise DataError(f"{place}/maps/{name}.png: got {array.dtype} {array.shape}, expected uint8 (h, w, 3)")
    return array


def _npz(place: Path) -> dict[str, torch.Tensor]:
    try:
        with np.load(place / "avatar.npz", allow_pickle=False) as file:
            return {name: torch.from_numpy(file[name]) for name in (*_TENSORS, *_CAMERA)}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{place / 'avatar.npz'}: cannot be read ({error}); reconstruct the avatar again") from error
