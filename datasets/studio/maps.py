"""Pictures of a studio, of 8, 16 and 32 bits, as the maps of a sample."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets.crop import resize_area
from mosar.datasets.exr import read_exr
from mosar.datasets.studio.layout import ColourSpace
from mosar.errors import DataError
from mosar.models.colour import to_linear, to_srgb

Values = NDArray[np.float64]

_SHORT = 0.02
"""How far a normal's length may be from one before it is made one."""


def read_picture(path: Path) -> NDArray[Any]:
    """A PNG, TIFF, JPEG or EXR file: H x W, or H x W x 3 RGB; uint8, uint16 or float32. Alpha is left out.

    Raises:
        DataError: unreadable, or of another type.
    """
    if path.suffix.lower() == ".exr":
        return read_exr(path)
    try:
        data = np.fromfile(path, np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except (OSError, cv2.error) as error:
        raise DataError(f"{path.name} cannot be read ({error})") from error
    if pixels is None:
        raise DataError(f"{path.name} is not an image, or cut short")
    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise DataError(f"{path.name} has {pixels.dtype} pixels, expected 8 or 16 bits or 32-bit floats")
    if pixels.ndim == 2:
        return pixels
    return np.ascontiguousarray(pixels[..., 2::-1] if pixels.shape[2] >= 3 else pixels[..., 0])


def colour(path: Path, space: ColourSpace, size: int | None = None) -> NDArray[np.uint8]:
    """A colour picture as 8-bit sRGB (H, W, 3); ``size``: a square map, brought to this side in linear light.

    Raises:
        DataError: unreadable, grey, not square, or not a reflectance (not finite, or floats outside of [0, 1]).
    """
    linear = _linear(_three(path), path, space)
    if size:
        linear = _sized(linear, path, size)
    encoded = to_srgb(torch.from_numpy(np.clip(linear, 0, 1))).numpy()
    return (encoded * 255 + 0.5).astype(np.uint8)


def grey(path: Path, space: ColourSpace, size: int) -> NDArray[np.uint8]:
    """A map of one channel as linear 8 bits (size, size). Raises DataError as :func:`colour` does."""
    pixels = read_picture(path)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise DataError(f"{path.name} has colours, expected one channel")
        pixels = pixels[..., 0]
    values = _sized(_linear(pixels, path, space), path, size)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def normals(path: Path, up: bool, size: int) -> NDArray[np.float32]:
    """Tangent-space normals (size, size, 3), y along +v. ``up``: the file's green is +v.

    Raises:
        DataError: unreadable, or no normals: lengths far from one, or most of them not out of the surface.
    """
    pixels = _three(path)
    if pixels.dtype == np.float32:
        values = pixels.astype(np.float64)
        values = values if values.min() < 0 else values * 2 - 1
    else:
        middle = float(np.iinfo(pixels.dtype).max // 2 + 1)
        values = (pixels - middle) / (middle - 1)
    if not np.isfinite(values).all():
        raise DataError(f"{path.name} holds a number that is not finite")
    if not up:
        values = values * [1, -1, 1]
    length = np.linalg.norm(values, axis=-1)
    if not 0.9 < np.median(length) < 1.1 or np.median(values[..., 2]) < 0.6:
        z = float(np.median(values[..., 2]))
        raise DataError(
            f"{path.name} does not hold tangent-space normals: median length {np.median(length):.2f} and z {z:.2f}, "
            "expected 1 and nearly 1"
        )
    values = _sized(values, path, size)
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.where(np.abs(length - 1) > _SHORT, values / np.maximum(length, 1e-6), values).astype(np.float32)


def _three(path: Path) -> NDArray[Any]:
    pixels = read_picture(path)
    if pixels.ndim != 3:
        raise DataError(f"{path.name} has one channel, expected three")
    return pixels


def _linear(pixels: NDArray[Any], path: Path, space: ColourSpace) -> Values:
    if pixels.dtype == np.float32:
        values = pixels.astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"{path.name} holds a number that is not finite")
        if values.min() < -0.01 or values.max() > 1.01:
            raise DataError(f"{path.name} holds {values.min():.3g} to {values.max():.3g}, expected 0 to 1")
        return values
    values = pixels / np.iinfo(pixels.dtype).max
    return np.asarray(to_linear(torch.from_numpy(values)).numpy()) if space == "srgb" else values


def _sized(values: Values, path: Path, size: int) -> Values:
    if values.shape[0] != values.shape[1]:
        raise DataError(f"{path.name} has {values.shape[1]} x {values.shape[0]} pixels, expected a square")
    return np.asarray(resize_area(values, size), np.float64)
