"""Decode a shard's bytes to the arrays that a training stage asks for (docs/architecture.md, Samples)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop, schema
from mosar.datasets.augment import OCCLUDED, camera_effects, expose, occlude, photometric
from mosar.errors import DataError

_CROPPED = ("image", "mask", "classes", "landmarks", "detected", "intrinsics", "rotation", "translation")
"""Fields of the rendered view or photograph; they follow the crop."""
_DIRECT = (*(name for name in schema.MEMBERS if name not in (*_CROPPED, *schema.JSON)), "expression", "found")
"""Fields that the crop does not affect: members of the same name, the expression weights, whether a face was found."""
FIELDS = (*_DIRECT, *_CROPPED)
_ON_CHART = (*schema.MAPS, *schema.ESTIMATE_MAPS)
JITTER = 0.04
"""Largest relative change of scale, and largest shift in crop sides, by which augmentation changes a crop."""
TILT = float(np.radians(3.0))
"""Largest tilt that augmentation gives an upright crop; inference leaves faces up to 2 degrees tilted."""


@dataclass(frozen=True)
class DecodeSpec:
    """Fields to decode, side of the maps and of the crop in pixels, and whether to augment the photograph."""

    fields: tuple[str, ...]
    map_size: int
    crop_size: int
    augment: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.fields) - set(FIELDS))
        if unknown:
            raise DataError(f"field {unknown[0]!r} is not in a sample; expected some of {', '.join(FIELDS)}")


def decode(members: Mapping[str, bytes], spec: DecodeSpec, seed: int) -> dict[str, NDArray[Any]]:
    """The requested fields of one sample; docs/architecture.md defines shapes and encodings.

    Crops are turned until the face is upright, as inference turns photographs; the camera turns with them.

    ``spec.augment`` shifts, scales and tilts the crop a little, together with camera, mask and landmarks; covers parts
    of some faces, which the mask then excludes, whose landmarks become hidden and whose class becomes unknown; and
    changes the image photometrically. If ``light`` is asked for, exposure and white balance change the image and the
    light alike, in linear light, and other colour changes are left out. Only ``seed`` decides how. ``detected`` follows
    the crop, but shows what the detector saw before augmentation.

    Raises:
        DataError: a member is missing or unreadable.
    """
    found = {name: _direct(members, name, spec.map_size) for name in spec.fields if name in _DIRECT}
    if set(spec.fields) & set(_CROPPED):
        found |= _view(members, spec, seed)
    if spec.augment and {"light", "image"} <= set(found):
        found["image"], found["light"] = expose(found["image"], found["light"], seed)
    return {name: found[name] for name in spec.fields}


def _direct(members: Mapping[str, bytes], name: str, map_size: int) -> NDArray[Any]:
    """Decode a field that the crop does not affect."""
    if name == "expression":
        capture = schema.decode_member(members, "capture")
        return np.fromiter(capture["expression"].values(), np.float32)
    if name == "found":
        return np.asarray(schema.decode_member(members, "pose")[3, 3:], np.float32)
    value = schema.decode_member(members, name)
    if name not in _ON_CHART:
        return np.asarray(value)
    if name == "unwrapped":  # what is not seen has no colour
        seen = np.repeat(schema.decode_member(members, "seen")[..., None] / np.float32(255), 3, -1)
        weight = crop.resize_area(seen, map_size)
        value = crop.resize_area(value * seen, map_size) / np.maximum(weight, np.float32(1e-3))
    else:
        value = crop.resize_area(value, map_size)
    if name == "normal":
        value = value / np.maximum(np.linalg.norm(value, axis=-1, keepdims=True), 1e-6)
    channels_last = value.reshape(map_size, map_size, -1)
    return np.ascontiguousarray(channels_last.transpose(2, 0, 1))


def _view(members: Mapping[str, bytes], spec: DecodeSpec, seed: int) -> dict[str, NDArray[Any]]:
    """Decode the fields of the rendered view or photograph, in the ``crop_size`` crop."""
    size = spec.crop_size
    camera = schema.decode_member(members, "camera")
    stored = int(camera["size"])
    tilt = _roll(members)
    covered = False
    affine = crop.resize_affine(stored, size)
    if spec.augment:
        rng = np.random.default_rng(seed)
        tilt += rng.uniform(-TILT, TILT)
        affine = _jitter(rng, size) @ affine
        covered = bool(rng.random() < OCCLUDED)
    affine = affine @ crop.turn(tilt, stored, stored)
    pixels: dict[str, NDArray[Any]] = {}
    if covered or "image" in spec.fields:
        pixels["image"] = crop.warp(schema.decode_member(members, "image"), affine, size)
    if "mask" in spec.fields:
        pixels["mask"] = crop.warp(schema.decode_member(members, "mask"), affine, size, cv2.BORDER_CONSTANT)
    if "classes" in spec.fields:
        pixels["classes"] = crop.warp_classes(schema.decode_member(members, "classes"), affine, size, schema.UNKNOWN)
    if covered or "landmarks" in spec.fields:
        pixels["landmarks"] = crop.transform_points(schema.decode_member(members, "landmarks"), affine)
    if covered:
        pixels["image"], patched, pixels["landmarks"] = occlude(pixels["image"], pixels["landmarks"], seed)
        for name, value in (("mask", 0), ("classes", schema.UNKNOWN)):
            if name in pixels:
                pixels[name] = np.where(patched, np.uint8(value), pixels[name])
    if spec.augment and "image" in pixels:
        change = camera_effects if "light" in spec.fields else photometric
        pixels["image"] = change(pixels["image"], seed)
    found: dict[str, NDArray[Any]] = {}
    if "image" in spec.fields:
        found["image"] = np.ascontiguousarray(pixels["image"].transpose(2, 0, 1))
    found |= {name: pixels[name][None] for name in ("mask", "classes") if name in pixels}
    if "landmarks" in spec.fields:
        found["landmarks"] = pixels["landmarks"]
    if "detected" in spec.fields:
        seen = schema.decode_member(members, "detected")
        if seen.any():
            moved = crop.transform_points(seen[:, :2], affine)
            seen = np.concatenate([moved, seen[:, 2:] * np.float32(np.hypot(*affine[0, :2]))], 1)
        found["detected"] = np.asarray(seen, np.float32)
    # A turn of the picture is a turn of the camera: affine @ K = K' @ turn.
    turn_33 = crop.turn(tilt, 0, 0)
    found["intrinsics"] = (affine @ np.asarray(camera["intrinsics"]) @ turn_33.T).astype(np.float32)
    for name, key in (("rotation", "rotation"), ("translation", "translation_mm")):
        if name in spec.fields:
            if key not in camera:
                raise DataError(f"member camera.json: no key {key!r}; only a light stage sample has it")
            found[name] = (turn_33 @ np.asarray(camera[key])).astype(np.float32)
    return found


def _roll(members: Mapping[str, bytes]) -> float:
    """How far the face is turned in the stored crop, radians: by the detector's points, else by the landmarks."""
    for name in ("detected", "landmarks"):
        points = schema.decode_member(members, name)
        if points.any():
            return crop.roll(points)
    return 0.0


def _jitter(generator: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Affine map (3 x 3) of a small zoom about the centre and a shift."""
    scale = 1 + generator.uniform(-JITTER, JITTER)
    shift = generator.uniform(-JITTER, JITTER, 2) * size + (1 - scale) * size / 2
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]])
