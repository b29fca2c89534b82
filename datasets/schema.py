"""Schema of a sample, version 2: its members, their encodings and the checks that a valid sample passes.

A sample in memory maps a member's stem to its value (``{"mesh": V x 3 array, "capture": {...}}``); in a shard it maps
the member's name to bytes (``{"mesh.npy": b"...", "capture.json": b"..."}``). Only the table ``MEMBERS`` states which
stem belongs to which file name.
"""

import io
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.png import png
from mosar.errors import DataError
from mosar.models import face_classes
from mosar.models.face_outlines import LANDMARKS

VERSION = 2
SH = 81

Kind = Literal["lightstage", "wild"]
Codec = Literal["npy", "rgb", "grey", "normal", "jpeg", "json"]

MEMBERS: dict[str, tuple[str, Codec]] = {
    "mesh": ("mesh.npy", "npy"),
    "neutral": ("neutral.npy", "npy"),
    "diffuse": ("diffuse.png", "rgb"),
    "specular": ("specular.png", "grey"),
    "ao": ("ao.png", "grey"),
    "translucency": ("translucency.png", "grey"),
    "normal": ("normal.png", "normal"),
    "image": ("image.jpg", "jpeg"),
    "mask": ("mask.png", "grey"),
    "landmarks": ("landmarks.npy", "npy"),
    "light": ("light.npy", "npy"),
    "classes": ("classes.png", "grey"),
    "detected": ("detected.npy", "npy"),
    "blendshapes": ("blendshapes.npy", "npy"),
    "pose": ("pose.npy", "npy"),
    "camera": ("camera.json", "json"),
    "capture": ("capture.json", "json"),
    "unwrapped": ("unwrapped.png", "rgb"),
    "seen": ("seen.png", "grey"),
    "estimate_ao": ("estimate_ao.png", "grey"),
    "estimate_mesh": ("estimate_mesh.npy", "npy"),
    "estimate_light": ("estimate_light.npy", "npy"),
    "estimate_eye": ("estimate_eye.npy", "npy"),
}
"""Stem to (file name, encoding)."""

KINDS: dict[Kind, tuple[str, ...]] = {
    "lightstage": ("mesh", "neutral", "diffuse", "specular", "ao", "translucency", "normal", "image", "mask",
                   "landmarks", "light", "classes", "detected", "blendshapes", "pose", "camera", "capture"),
    "wild": ("image", "mask", "landmarks", "detected", "blendshapes", "pose", "camera", "capture"),
}  # fmt: skip
"""Members of a light stage sample and of an in-the-wild sample."""

ESTIMATE_MAPS = ("unwrapped", "seen", "estimate_ao")
ESTIMATE = (*ESTIMATE_MAPS, "estimate_mesh", "estimate_light", "estimate_eye")
"""Further members of a sample from whose picture a bundle has estimated mesh, camera and light: all or none.

``image.jpg`` unwrapped through the estimate (sRGB), how well each texel is seen, the occlusion by the estimated mesh,
this mesh (mm) and the light (81 x 3) in the head frame, and the camera's position in it (3, mm)."""

JSON = ("camera", "capture")
MAPS = ("diffuse", "specular", "ao", "translucency", "normal")
DETECTION = ("detected", "blendshapes", "pose")
"""What the landmark detector saw in ``image.jpg`` (:mod:`mosar.datasets.detection`); zeros if it found no face."""

CLASSES = face_classes.CLASSES
"""Classes of the pixels of ``classes.png``, by number."""
UNKNOWN = 255
"""Class of a pixel about which nothing is known: leave it out of losses and figures."""


def kind_of(members: Mapping[str, bytes]) -> Kind:
    """Whether encoded members belong to a light stage or an in-the-wild sample."""
    return "lightstage" if "mesh.npy" in members else "wild"


def encode(sample: Mapping[str, Any]) -> dict[str, bytes]:
    """Encode a sample in memory: bytes by member name. The same sample gives the same bytes.

    Values by encoding: ``rgb`` H W 3 uint8 sRGB, ``grey`` H W uint8, ``jpeg`` H W 3 uint8 sRGB, ``normal`` H W 3 float
    unit tangent-space vectors, ``npy`` any float array (float64 is stored as float32), ``json`` a plain mapping. JSON
    keeps the mapping's order: ``capture["expression"]`` lists weights in the head's order.
    """
    return {MEMBERS[stem][0]: _ENCODERS[MEMBERS[stem][1]](value) for stem, value in sample.items()}


def decode_member(members: Mapping[str, bytes], stem: str) -> Any:
    """Decode one member to its value in memory, the input of :func:`encode` (normals as float32).

    Raises:
        DataError: the member is missing or unreadable; the message names it.
    """
    name, codec = MEMBERS[stem]
    if name not in members:
        raise DataError(f"member {name} is missing; the sample has {', '.join(sorted(members))}")
    try:
        return _DECODERS[codec](bytes(members[name]))
    except (ValueError, EOFError) as error:
        raise DataError(f"member {name} cannot be read as {codec}: {error}") from error


def validate(members: Mapping[str, bytes], kind: Kind | None = None) -> None:
    """Check that encoded members form a complete, consistent sample.

    Raises:
        DataError: a member is missing, unknown, unreadable, of the wrong shape, or has values out of range.
    """
    kind = kind or kind_of(members)
    stems = KINDS[kind]
    if {MEMBERS[stem][0] for stem in ESTIMATE} & set(members):
        stems += ESTIMATE
    names = {MEMBERS[stem][0] for stem in stems}
    unknown = sorted(set(members) - names)
    if unknown:
        raise DataError(f"member {unknown[0]} does not belong to a {kind} sample; expected {', '.join(sorted(names))}")
    sample = {stem: decode_member(members, stem) for stem in stems}
    image, mask = sample["image"], sample["mask"]
    _expect("image.jpg", image.shape[0] == image.shape[1], f"shape {image.shape}, expected a square")
    _expect("mask.png", mask.shape == image.shape[:2], f"shape {mask.shape}, expected {image.shape[:2]} as image.jpg")
    _check_landmarks(sample["landmarks"], image.shape[0])
    _check_camera(sample["camera"], image.shape[0], pose=kind == "lightstage")
    _expect("capture.json", "subject" in sample["capture"], "no key 'subject'")
    found = _check_detection({stem: sample[stem] for stem in DETECTION}, image.shape[0])
    maps = (*(MAPS if kind == "lightstage" else ()), *(ESTIMATE_MAPS if "unwrapped" in sample else ()))
    sizes = {stem: sample[stem].shape[:2] for stem in maps}
    wrong = [stem for stem in maps if sizes[stem] != (sizes[maps[0]][0],) * 2]
    _expect(f"{(wrong or MAPS)[0]}.png", not wrong, f"expected square maps of one size, got {sizes}")
    if "unwrapped" in sample:
        mesh = sample["mesh"].shape if kind == "lightstage" else (None, 3)
        _numbers("estimate_mesh.npy", sample["estimate_mesh"], mesh, 1000)
        _numbers("estimate_light.npy", sample["estimate_light"], (SH, 3))
        _numbers("estimate_eye.npy", sample["estimate_eye"], (3,))
    if kind == "wild":
        _expect("detected.npy", found, "no face was detected, expected one in every photograph")
        return
    _check_classes(sample["classes"], image.shape[:2])
    _numbers("light.npy", sample["light"], (SH, 3))
    _numbers("mesh.npy", sample["mesh"], (None, 3), 1000)
    _numbers("neutral.npy", sample["neutral"], sample["mesh"].shape, 1000)
    expression = sample["capture"].get("expression")
    _expect("capture.json", isinstance(expression, dict), "no mapping 'expression'")


def stored(image_hw3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image as a sample stores it, with the losses of its JPEG file."""
    pixels: NDArray[np.uint8] = decode_member(encode({"image": image_hw3}), "image")
    return pixels


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Bytes of an array's ``.npy`` file; float64 is stored as float32."""
    buffer = io.BytesIO()
    narrow = array.astype(np.float32) if array.dtype == np.float64 else array
    np.lib.format.write_array(buffer, np.ascontiguousarray(narrow), allow_pickle=False)
    return buffer.getvalue()


def _expect(member: str, held: bool, what: str) -> None:
    if not held:
        raise DataError(f"member {member}: {what}")


def _numbers(member: str, array: NDArray[Any], shape: tuple[int | None, ...], largest: float = np.inf) -> None:
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    _expect(member, fits, f"shape {array.shape}, expected {shape}")
    _expect(member, array.dtype == np.float32, f"type {array.dtype}, expected float32")
    _expect(member, bool(np.isfinite(array).all()), "contains a value that is not finite")
    _expect(member, bool((np.abs(array) <= largest).all()), f"contains a value beyond +-{largest}")


def _check_landmarks(landmarks: NDArray[np.float32], size: int) -> None:
    _numbers("landmarks.npy", landmarks, (LANDMARKS, 3))
    shown = landmarks[landmarks[:, 2] > 0, :2]
    _expect("landmarks.npy", len(shown) > 0, "no landmark is embedded")
    inside = bool(((shown > -size) & (shown < 2 * size)).all())
    _expect("landmarks.npy", inside, f"a landmark lies more than {size} px outside the crop")
    _expect("landmarks.npy", bool(np.isin(landmarks[:, 2], (0, 0.5, 1)).all()), "visibility must be 0, 0.5 or 1")


def _check_detection(seen: Mapping[str, NDArray[np.float32]], size: int) -> bool:
    """Check the detector's points, scores and pose, and return whether it found a face."""
    for stem, shape in (("detected", (LANDMARKS, 3)), ("blendshapes", (52,)), ("pose", (4, 4))):
        _numbers(f"{stem}.npy", seen[stem], shape)
    points, scores, pose = (seen[stem] for stem in DETECTION)
    if not pose.any():
        _expect("detected.npy", not points.any() and not scores.any(), "not zero although pose.npy says: no face")
        return False
    inside = bool(((points[:, :2] > -size) & (points[:, :2] < 2 * size)).all())
    _expect("detected.npy", inside, f"a point lies more than {size} px outside the crop")
    _expect("detected.npy", bool(np.ptp(points[:, :2], axis=0).min() > 1), "all points lie in one place")
    _expect("blendshapes.npy", bool(((scores >= 0) & (scores <= 1)).all()), "a score lies outside 0 to 1")
    turn = pose[:3, :3].astype(np.float64)
    scale = np.cbrt(np.linalg.det(turn))
    rigid = scale > 0 and np.allclose(turn @ turn.T, scale**2 * np.eye(3), atol=0.02 * scale**2)
    _expect("pose.npy", bool(rigid and np.array_equal(pose[3], (0, 0, 0, 1))), "not a rotation, scale and translation")
    return True


def _check_classes(classes_hw: NDArray[np.uint8], size: tuple[int, ...]) -> None:
    _expect("classes.png", classes_hw.shape == size, f"shape {classes_hw.shape}, expected {size} as image.jpg")
    wrong = classes_hw[(classes_hw >= len(CLASSES)) & (classes_hw != UNKNOWN)]
    what = f"class {wrong.flat[0] if wrong.size else 0}, expected 0 to {len(CLASSES) - 1} or {UNKNOWN}"
    _expect("classes.png", not wrong.size, what)


def _check_camera(camera: Mapping[str, Any], size: int, pose: bool) -> None:
    wanted = {"intrinsics": (3, 3), **({"rotation": (3, 3), "translation_mm": (3,)} if pose else {})}
    _expect("camera.json", camera.get("size") == size, f"size {camera.get('size')}, expected {size} as image.jpg")
    for key, shape in wanted.items():
        _expect("camera.json", key in camera, f"no key {key!r}")
        array = np.asarray(camera[key], np.float32)
        _expect("camera.json", array.shape == shape, f"{key} of shape {array.shape}, expected {shape}")
        _expect("camera.json", bool(np.isfinite(array).all()), f"{key} contains a value that is not finite")


def _jpeg(image_hw3: NDArray[np.uint8]) -> bytes:
    import cv2

    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image_hw3[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, 92))
    if not done:
        raise ValueError(f"array of shape {image_hw3.shape} and type {image_hw3.dtype} cannot be written as JPEG")
    return data.tobytes()


def _decode_image(flag: str, dtype: type, channels: int) -> Any:
    def decode_bytes(data: bytes) -> NDArray[Any]:
        import cv2

        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), getattr(cv2, flag)) if data else None
        except cv2.error as error:
            raise ValueError(str(error)) from error
        if pixels is None:
            raise ValueError("not an image, or cut short")
        if pixels.dtype != dtype or (pixels.shape[2] if pixels.ndim == 3 else 1) != channels:
            raise ValueError(f"{pixels.dtype} pixels of shape {pixels.shape}, expected {channels} channels of {dtype}")
        return np.ascontiguousarray(pixels[..., ::-1]) if channels == 3 else pixels

    return decode_bytes


_unchanged = "IMREAD_UNCHANGED"
_rgb16 = _decode_image(_unchanged, np.uint16, 3)


def normal_words(normal_hw3: NDArray[Any]) -> NDArray[np.uint16]:
    """Normals as stored: 16 bits a component, 32768 for zero, so that zero is exact and the range symmetric."""
    return np.clip(np.rint(normal_hw3 * 32767.0) + 32768, 1, 65535).astype(np.uint16)


def _decode_normal(data: bytes) -> NDArray[np.float32]:
    normal = (_rgb16(data).astype(np.float32) - 32768) / 32767
    length = np.sqrt(np.einsum("hwc,hwc->hw", normal, normal))[..., None]
    return normal / np.maximum(length, 1e-6)


_ENCODERS: dict[Codec, Any] = {
    "npy": npy_bytes,
    "rgb": png,
    "grey": png,
    "normal": lambda value: png(normal_words(value)),
    "jpeg": _jpeg,
    "json": lambda value: json.dumps(value, allow_nan=False).encode(),
}
_DECODERS: dict[Codec, Any] = {
    "npy": lambda data: np.lib.format.read_array(io.BytesIO(data), allow_pickle=False),
    "rgb": _decode_image(_unchanged, np.uint8, 3),
    "grey": _decode_image(_unchanged, np.uint8, 1),
    "normal": _decode_normal,
    "jpeg": _decode_image("IMREAD_COLOR", np.uint8, 3),
    "json": json.loads,
}
