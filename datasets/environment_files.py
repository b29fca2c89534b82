"""Equirectangular environment maps from OpenEXR and Radiance files."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets.exr import read_exr
from mosar.errors import DataError

SUFFIXES = (".exr", ".hdr")


def read_environment(path: Path) -> NDArray[np.float32]:
    """Linear RGB radiance (h, 2 h, 3); negative values, which come from earlier resampling, are set to 0.

    Raises:
        DataError: the file cannot be read, is not in colour, is not twice as wide as high, or has a non-finite value.
    """
    image = read_exr(path) if path.suffix.lower() == ".exr" else _read_hdr(path)
    if image.ndim != 3 or image.shape[1] != 2 * image.shape[0]:
        raise DataError(f"{path}: shape {image.shape}, expected an equirectangular RGB map of 2 h x h pixels")
    if not np.isfinite(image).all():
        raise DataError(f"{path}: holds a number that is not finite")
    return np.maximum(image, 0.0)


def _read_hdr(path: Path) -> NDArray[np.float32]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3:
        raise DataError(f"{path}: not a readable Radiance file")
    return np.asarray(image[..., 2::-1], np.float32)
