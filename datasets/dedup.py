"""Photographs that are the same but for size, compression and small edits, told by a hash of what they look like."""

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 256
DISTANCE = 24
"""Most bits in which two versions of one photograph differ; portraits of different people differ in 50 and more."""

_BANDS = 16  # looked up by: hashes that differ in fewer bits agree in one band for sure, up to 24 nearly always
_SIDE, _LOW = 64, 16


def perceptual_hash(image_hw3: NDArray[np.uint8]) -> bytes:
    """32 bytes: which of the 256 lowest frequencies (of a cosine transform) of the grey picture exceed their median."""
    grey = cv2.cvtColor(np.ascontiguousarray(image_hw3), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_LOW, :_LOW].ravel()
    return np.packbits(low > np.median(low)).tobytes()


def distance(a: bytes, b: bytes) -> int:
    """Number of bits in which two hashes differ."""
    return (int.from_bytes(a) ^ int.from_bytes(b)).bit_count()


def duplicates(hashes: Sequence[bytes | None]) -> dict[int, int]:
    """Duplicate: original, as numbers in the sequence; the first of several is the original. None is like nothing."""
    kept: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    found: dict[int, int] = {}
    for number, each in enumerate(hashes):
        if each is None:
            continue
        width = len(each) // _BANDS
        bands = [(band, each[band * width : (band + 1) * width]) for band in range(_BANDS)]
        near = sorted({other for band in bands for other in kept[band]})
        original = next((o for o in near if distance(each, hashes[o] or b"") <= DISTANCE), None)
        if original is not None:
            found[number] = original
            continue
        for band in bands:
            kept[band].append(number)
    return found
