"""Maps and pictures to the 8- and 16-bit arrays that files hold, and the files themselves.

Encodings: diffuse and pictures sRGB 8-bit, specular, occlusion, translucency and masks linear 8-bit, normals 16-bit.
"""

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from mosar.avatar.avatar import Maps
from mosar.models.colour import to_srgb

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint16]


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
    """A PNG file of an (h, w), or RGB (h, w, 3), array of 8 or 16 bits."""
    done, data = cv2.imencode(".png", array[..., ::-1] if array.ndim == 3 else array)
    if not done:
        raise ValueError(f"array of shape {array.shape} and type {array.dtype} cannot be a PNG")
    return data.tobytes()


def map_arrays(maps: Maps) -> dict[str, Bytes | Words]:
    """Arrays of the five maps by name."""
    return {
        "diffuse": srgb8(maps.diffuse),
        "specular": unit8(maps.specular),
        "ao": unit8(maps.ao),
        "translucency": unit8(maps.translucency),
        "normal": normal16(maps.normal),
    }
