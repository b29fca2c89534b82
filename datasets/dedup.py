"""Find photographs that differ only in size, compression and small edits, by a perceptual hash.

The hash is the classic one of cosine frequencies, as in ``imagehash.phash(image, hash_size=16)``. It takes four lines
of OpenCV, so imagehash, which brings PyWavelets along for hashes that are not used here, is not a dependency.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BITS = 256
DISTANCE = 24
"""Largest number of bits by which two versions of one photograph differ; different people differ in 50 and more."""

_BANDS = 16  # hashes that differ in fewer bits than this agree in at least one band; up to 24 bits, nearly always
_SIDE, _LOW = 64, 16


def perceptual_hash(image_hw3: NDArray[np.uint8]) -> bytes:
    """32 bytes, a bit for each of the 256 lowest cosine frequencies of the grey picture: is it above their median?"""
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(image_hw3), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:_LOW, :_LOW].ravel()
    return np.packbits(low > np.median(low)).tobytes()


def distance(a: bytes, b: bytes) -> int:
    """Number of bits in which two hashes differ."""
    return (int.from_bytes(a) ^ int.from_bytes(b)).bit_count()


def duplicates(hashes: Sequence[bytes | None]) -> dict[int, int]:
    """Duplicate to original, as indices of ``hashes``; the first of several is the original. None has no duplicate."""
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
