"""Encode maps and pictures as the 8- and 16-bit arrays of their files, and as PNG files.

Encodings: diffuse and pictures sRGB 8-bit, specular, occlusion, translucency and masks linear 8-bit, normals 16-bit.
"""

from collections.abc import Mapping

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.errors import DataError
from mosar.models.colour import to_linear, to_srgb
from mosar.models.reconstruct.estimate import Maps

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]
LAYOUT = (
    ("diffuse", 3, np.uint8),
    ("specular", 1, np.uint8),
    ("ao", 1, np.uint8),
    ("translucency", 1, np.uint8),
    ("normal", 3, np.uint16),
    ("confidence", 1, np.uint8),
)
"""Name, channels and type of each map's file."""


def srgb8(linear_13hw: Tensor) -> Bytes:
    """Linear RGB (1, 3, h, w) to sRGB (h, w, 3), clipped to [0, 1]."""
    return unit8(to_srgb(linear_13hw.clamp(0.0, 1.0)))


def unit8(values_1chw: Tensor) -> Bytes:
    """Values in [0, 1] (1, c, h, w) to (h, w, c), or (h, w) for one channel."""
    array = (values_1chw[0].clamp(0.0, 1.0) * 255.0).round().byte().permute(1, 2, 0).cpu().numpy()
    return array[..., 0] if array.shape[2] == 1 else array


def normal16(normal_13hw: Tensor) -> Words:
    """Unit vectors (1, 3, h, w) to (h, w, 3), zero at mid-grey, +y = +v."""
    array: Words = ((normal_13hw[0] * 0.5 + 0.5).clamp(0.0, 1.0) * 65535.0).round().permute(1, 2, 0).cpu().numpy()
    return array.astype(np.uint16)


def png(array: Bytes | Words) -> bytes:
    """A PNG file of an array (h, w), RGB (h, w, 3), or RGB and coverage (h, w, 4), of 8 or 16 bits."""
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}
    done, data = cv2.imencode(".png", array[..., order[array.shape[2]]] if array.ndim == 3 else array)
    if not done:
        raise ValueError(f"png: got {array.dtype} {array.shape}, expected uint8 or uint16, (h, w), (h, w, 3 or 4)")
    return data.tobytes()


def read_png(content: bytes) -> Bytes | Words:
    """The inverse of :func:`png`.

    Raises:
        DataError: the content is not a PNG file.
    """
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if pixels is None:
        raise DataError("not a PNG file, or truncated")
    return np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels


def map_arrays(maps: Maps) -> dict[str, Bytes | Words]:
    """The arrays of the maps' files, by name."""
    return {
        "diffuse": srgb8(maps.diffuse),
        "specular": unit8(maps.specular),
        "ao": unit8(maps.ao),
        "translucency": unit8(maps.translucency),
        "normal": normal16(maps.normal),
        "confidence": unit8(maps.confidence),
    }


def maps_of(arrays: Mapping[str, Bytes | Words], device: torch.device | str = "cpu") -> Maps:
    """The inverse of :func:`map_arrays`; encoding the result gives the same arrays again.

    Raises:
        DataError: a map is missing or has a wrong type or size.
    """
    found = {}
    for name, channels, kind in LAYOUT:
        array = arrays.get(name)
        size = 0 if array is None else array.shape[0]
        shape = (size, size, 3) if channels == 3 else (size, size)
        if array is None or not size or array.shape != shape or array.dtype != kind:
            got = "nothing" if array is None else f"{array.dtype} {array.shape}"
            raise DataError(f"maps/{name}.png: got {got}, expected {np.dtype(kind).name} {shape}")
        values = torch.from_numpy(array.reshape(size, size, channels).astype(np.float32)).permute(2, 0, 1)[None]
        found[name] = (values / np.iinfo(kind).max).to(device)
    found["diffuse"] = to_linear(found["diffuse"])
    found["normal"] = 2.0 * found["normal"] - 1.0
    return Maps(**found)


def quantized(maps: Maps) -> Maps:
    """The maps rounded to the precision of their files."""
    return maps_of(map_arrays(maps), maps.diffuse.device)
