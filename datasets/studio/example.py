"""Write a studio's folder from existing light stage samples, as an example and to test the import."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import schema
from mosar.datasets.studio.layout import VERSION
from mosar.datasets.studio.meshes import write_mesh
from mosar.errors import DataError
from mosar.models.colour import to_linear
from mosar.models.head import Head

Format = Literal["png", "tif", "exr"]


def write_example(folder: Path, head: Head, samples: Iterable[tuple[str, Mapping[str, bytes]]], kind: Format) -> int:
    """Write captures, each given by a name and a sample's members, and return their number.

    PNG and TIFF maps keep the sample's 8 bits (normals 16 bits); EXR maps are floats in linear light. The subjects keep
    their splits.
    """
    splits: dict[str, str] = {}
    licence, count = "", 0
    for name, members in samples:
        facts = schema.decode_member(members, "capture")
        subject = facts["subject"]
        splits[subject], licence = facts["split"], facts["licence"]
        place = folder / subject / name
        write_mesh(folder / subject / "neutral.obj", head, schema.decode_member(members, "neutral"))
        write_mesh(place / "mesh.obj", head, schema.decode_member(members, "mesh"))
        for stem in schema.MAPS:
            pixels: Any = cv2.imdecode(np.frombuffer(members[f"{stem}.png"], np.uint8), cv2.IMREAD_UNCHANGED)
            _write_map(place / f"{stem}.{kind}", stem, pixels[..., ::-1] if pixels.ndim == 3 else pixels)
        for stem in ("light", "landmarks"):
            (place / f"{stem}.npy").write_bytes(members[f"{stem}.npy"])
        (place / "view.jpg").write_bytes(members["image.jpg"])
        for flat in ("mask.png", "classes.png"):
            (place / flat).write_bytes(members[flat])
        camera = {k: v for k, v in schema.decode_member(members, "camera").items() if k != "size"}
        camera |= {"image": "view.jpg", "mask": "mask.png", "classes": "classes.png", "landmarks": "landmarks.npy"}
        camera["cropped"] = True
        _write_json(place / "cameras.json", {"front": camera})
        _write_json(place / "capture.json", facts)
        count += 1
    linear = dict.fromkeys(("specular", "ao", "translucency"), "linear")
    about = {"version": VERSION, "licence": licence, "normal_y": "+v", "splits": splits}
    _write_json(folder / "studio.json", about | {"colour": {"image": "srgb", "diffuse": "srgb", **linear}})
    return count


def _write_map(path: Path, stem: str, pixels: NDArray[Any]) -> None:
    if path.suffix != ".exr":
        stored = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
        if not cv2.imwrite(str(path), stored):
            raise DataError(f"{path} cannot be written; give a writable folder on a disk with space")
        return
    import OpenEXR

    if stem == "normal":
        values = (pixels.astype(np.float64) - 32768) / 32767
    else:
        values = pixels / 255
        if stem == "diffuse":
            values = to_linear(torch.from_numpy(values)).numpy()
    channels = {"RGB" if values.ndim == 3 else "Y": values.astype(np.float32)}
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels) as file:
        file.write(str(path))


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")
