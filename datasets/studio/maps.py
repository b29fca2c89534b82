"""Read a studio's pictures of 8, 16 and 32 bits as the maps of a sample."""

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
"""Normals are normalised if their length differs from 1 by more than this."""


def read_picture(path: Path) -> NDArray[Any]:
    """Read a PNG, TIFF, JPEG or EXR file: H x W, or H x W x 3 RGB; uint8, uint16 or float32. Alpha is dropped.

    Raises:
        DataError: the file is unreadable or has another pixel type.
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
    """Read a colour picture as 8-bit sRGB (H, W, 3); ``size``: resize a square map to this side in linear light.

    Raises:
        DataError: the file is unreadable, grey, not square although ``size`` is given, not finite, or has floats
            outside [0, 1].
    """
    linear = _linear(_three(path), path, space)
    if size:
        linear = _sized(linear, path, size)
    encoded = to_srgb(torch.from_numpy(np.clip(linear, 0, 1))).numpy()
    return (encoded * 255 + 0.5).astype(np.uint8)


def grey(path: Path, space: ColourSpace, size: int) -> NDArray[np.uint8]:
    """Read a map of one channel as linear 8 bits (size, size). Raises DataError like :func:`colour`."""
    pixels = read_picture(path)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise DataError(f"{path.name} has colours, expected one channel or three equal ones")
        pixels = pixels[..., 0]
    values = _sized(_linear(pixels, path, space), path, size)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def normals(path: Path, up: bool, size: int) -> NDArray[np.float32]:
    """Read tangent-space normals (size, size, 3), y along +v. ``up``: green in the file points along +v.

    Raises:
        DataError: the file is unreadable, or does not contain normals: the median length is far from 1, or the median z
            is small.
    """
    pixels = _three(path)
    if pixels.dtype == np.float32:
        values = pixels.astype(np.float64)
        values = values if values.min() < 0 else values * 2 - 1
    else:
        middle = float(np.iinfo(pixels.dtype).max // 2 + 1)
        values = (pixels - middle) / (middle - 1)
    if not np.isfinite(values).all():
        raise DataError(f"{path.name} contains a value that is not finite")
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
            raise DataError(f"{path.name} contains a value that is not finite")
        if values.min() < -0.01 or values.max() > 1.01:
            raise DataError(f"{path.name} has values {values.min():.3g} to {values.max():.3g}, expected 0 to 1")
        return values
    values = pixels / np.iinfo(pixels.dtype).max
    return np.asarray(to_linear(torch.from_numpy(values)).numpy()) if space == "srgb" else values


def _sized(values: Values, path: Path, size: int) -> Values:
    if values.shape[0] != values.shape[1]:
        raise DataError(f"{path.name} has {values.shape[1]} x {values.shape[0]} pixels, expected a square")
    return np.asarray(resize_area(values, size), np.float64)
