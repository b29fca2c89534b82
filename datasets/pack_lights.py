"""Rebuild ``assets/lights.npz`` from a folder of equirectangular OpenEXR maps.

    python -m mosar.datasets.pack_lights FOLDER

Needed only to change the built-in lights.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.exr import read_exr
from mosar.datasets.lights import ASSET, HEIGHT
from mosar.errors import ConfigError


def shrink(image_hw3: NDArray[np.float32], height: int) -> NDArray[np.float32]:
    """Shrink a map to ``height`` x 2 ``height`` by area average; negative values of earlier resampling become 0."""
    h, w = image_hw3.shape[:2]
    if w != 2 * h or h % height:
        raise ConfigError(f"light of {w} x {h} pixels: expected a ratio of 2:1 and a height that {height} divides")
    factor = h // height
    blocks = np.maximum(image_hw3, 0).reshape(height, factor, 2 * height, factor, 3)
    return blocks.mean((1, 3), dtype=np.float64).astype(np.float32)


def main(folder: str) -> None:
    """Pack every ``*.exr`` of ``folder``."""
    paths = sorted(Path(folder).glob("*.exr"))
    if not paths:
        raise ConfigError(f"{folder}: contains no *.exr file")
    maps = {path.stem: shrink(read_exr(path), HEIGHT).astype(np.float16) for path in paths}
    if not all(np.isfinite(m).all() for m in maps.values()):
        raise ConfigError(f"{folder}: a light exceeds the largest half-precision value (65504)")
    np.savez_compressed(ASSET, **maps)  # type: ignore[arg-type]  # numpy's stub takes the flag's type for every keyword


if __name__ == "__main__":
    main(sys.argv[1])
