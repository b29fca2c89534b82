"""Tell photographs without colours, grey or of a single hue such as sepia, from those with colours."""

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE = 128  # px; noise of single pixels is no colour
_LEVELS = 40  # of lightness
_SPREAD = 4.0
"""CIELAB units. In a photograph without colours the chroma is a function of the lightness."""


def is_colourless(image_hw3: NDArray[np.uint8]) -> bool:
    """Whether an sRGB image has one colour for each lightness, but for noise."""
    return chroma_spread(image_hw3) < _SPREAD


def chroma_spread(image_hw3: NDArray[np.uint8]) -> float:
    """How far colours of the same lightness are apart: the 90th percentile of their distance from the median."""
    small = cv2.resize(image_hw3, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab_n3 = cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    level_n = np.minimum(lab_n3[:, 0] / 100 * _LEVELS, _LEVELS - 1).astype(int)
    off_n = np.zeros(len(lab_n3))
    for level in np.unique(level_n):
        here = level_n == level
        off_n[here] = np.linalg.norm(lab_n3[here, 1:] - np.median(lab_n3[here, 1:], axis=0), axis=1)
    return float(np.percentile(off_n, 90))


def grey(image_hw3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image in shades of grey, as three equal channels."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image_hw3, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
