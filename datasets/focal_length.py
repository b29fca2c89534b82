"""The focal length that a camera recorded in an image file (EXIF)."""

import io
import warnings

import numpy as np
from PIL import Image

from mosar.datasets.photographs import FORMATS

_DIAGONAL_MM = float(np.hypot(36.0, 24.0))  # of the film that equivalent focal lengths are about
_RANGE_MM = (8.0, 800.0)
_ASPECT = 0.01  # largest relative difference of the aspect ratios of the recorded image and this one
_EXIF, _EQUIVALENT, _WIDTH, _HEIGHT = 0x8769, 0xA405, 0xA002, 0xA003  # EXIF 2.3 tags


def recorded_focal(data: bytes) -> float | None:
    """Focal length in pixels of the image as it is stored; None if it is not recorded or cannot be trusted.

    The recorded length belongs to the whole picture that the camera took. If the image has another aspect ratio, it was
    cropped since. A crop of the same aspect ratio cannot be told.

    Args:
        data: an image file that :func:`mosar.datasets.photographs.read_photograph` reads.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged tags
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                tags = image.getexif().get_ifd(_EXIF)
        equivalent_mm, *recorded = (float(tags.get(tag, 0)) for tag in (_EQUIVALENT, _WIDTH, _HEIGHT))
    except Exception:  # damaged tags raise nearly any type, and the photograph is good without them
        return None
    if not (_RANGE_MM[0] <= equivalent_mm <= _RANGE_MM[1]) or min(recorded) <= 0:
        return None
    aspect, whole = max(width, height) / min(width, height), max(recorded) / min(recorded)
    if abs(aspect / whole - 1.0) > _ASPECT:
        return None
    return equivalent_mm / _DIAGONAL_MM * float(np.hypot(width, height))
