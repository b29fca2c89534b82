"""PNG files."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_COMPRESSION = 3


def png(pixels: NDArray[Any]) -> bytes:
    """A PNG file of grey (h, w) or RGB (h, w, 3) pixels of 8 or 16 bits; the same pixels give the same bytes.

    Raises:
        ValueError: the array has another shape or type.
    """
    import cv2

    shaped = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not shaped or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"png: got {pixels.dtype} {pixels.shape}, expected uint8 or uint16, (h, w) or (h, w, 3)")
    bgr = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    done, data = cv2.imencode(".png", bgr, (cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION))
    if not done:
        raise ValueError(f"png: an array of shape {pixels.shape} cannot be written")
    return data.tobytes()
