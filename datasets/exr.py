"""OpenEXR files as arrays."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosar.errors import DataError


def read_exr(path: Path) -> NDArray[np.float32]:
    """Linear values as stored: H x W x 3 of channels R, G, B or X, Y, Z, or H x W of one channel; drops alpha.

    Raises:
        DataError: the file is not a readable EXR file, or has other channels.
    """
    import OpenEXR

    try:
        with OpenEXR.File(str(path)) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except Exception as error:  # the binding raises RuntimeError and other types
        raise DataError(f"{path.name} cannot be read as EXR ({error})") from error
    for name in ("RGB", "RGBA"):
        if name in channels:
            return np.ascontiguousarray(channels[name][..., :3], np.float32)
    for names in ("RGB", "XYZ"):
        if all(c in channels for c in names):
            return np.stack([channels[c] for c in names], -1).astype(np.float32)
    if len(channels) == 1:
        return np.asarray(next(iter(channels.values())), np.float32)
    raise DataError(f"{path.name} has channels {', '.join(sorted(channels))}, expected RGB, XYZ or a single one")
