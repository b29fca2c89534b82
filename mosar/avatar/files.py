"""Write the files of an avatar (docs/avatar.md) and open them again without loss."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mosar.avatar import encode, export, sheet
from mosar.avatar.avatar import Avatar
from mosar.avatar.render import render
from mosar.datasets import lights
from mosar.errors import ConfigError, DataError
from mosar.models.camera import Camera
from mosar.models.head import load_head
from mosar.models.uv import chart
from mosar.platform import storage

FORMAT = 2
"""Version of the file format; :func:`open_avatar` refuses others."""
OTHERS = ("eyes", "mouth")
"""Materials other than skin that have an albedo map."""
_TENSORS = ("vertices_1v3", "neutral_1v3", "light_1lc")
_CAMERA = ("intrinsics_b33", "rotation_b33", "translation_b3")


def encode_files(avatar: Avatar) -> dict[str, bytes]:
    """Every file by its relative path."""
    picture = render(avatar, avatar.camera, (avatar.height, avatar.width))
    device = avatar.light_1lc.device
    shown = {name: torch.from_numpy(lights.light_sh(name)).to(device) for name in lights.HELD_OUT_LIGHTS}
    others = {name: getattr(avatar, f"{name}_hw3") for name in OTHERS}
    arrays = encode.map_arrays(avatar.maps) | others
    return {
        "avatar.json": json.dumps(describe(avatar), indent=1).encode(),
        "avatar.npz": _tensors(avatar),
        "avatar.glb": export.glb(avatar),
        "mesh.obj": export.obj(avatar).encode(),
        "mesh.mtl": export.mtl(avatar.head).encode(),
        **{f"maps/{name}.png": encode.png(array) for name, array in arrays.items()},
        "render.png": encode.png(sheet.over(picture, avatar.photograph_hw3)),
        "mask.png": encode.png(encode.unit8((picture.face_11hw > 0.5).float())),
        "sheet.png": encode.png(sheet.avatar_sheet(avatar, picture, shown)),
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
    )


def describe(avatar: Avatar) -> dict[str, Any]:
    """The content of ``avatar.json``."""

    def numbers(values: torch.Tensor, digits: int) -> Any:
        return np.round(values.double().cpu().numpy(), digits).tolist()

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
        "expression": dict(avatar.expression),
        "landmarks_px": [None if p is None else [float(x) for x in p] for p in points],
        "head_digest": avatar.head.digest,
        "bundle_digest": avatar.bundle_digest,
        "timings_s": {name: round(seconds, 4) for name, seconds in avatar.timings_s.items()},
        "confidence": {name: round(float(at.float().mean()), 4) for name, at in shares.items()},
    }


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, each atomically.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    try:
        for name, content in files.items():
            storage.write_bytes(str(folder.absolute() / name), content)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; give a writable folder") from error


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
