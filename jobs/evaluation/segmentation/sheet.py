"""Sheets of face crops with the outlines of their classes drawn in."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mosar.datasets.png import png
from mosar.models.face_classes import CLASSES, SKIN

TILE = 288
COLOURS = {
    SKIN: (60, 230, 60),
    ("scalp_hair",): (255, 170, 0),
    ("headwear", "hand", "cloth"): (0, 200, 255),
    ("glasses",): (255, 0, 255),
}
"""Classes that are outlined together, and the colour; glasses come last, because frames are thin."""


def tile(
    image_hw3: NDArray[np.uint8], classes_hw: NDArray[np.integer], words: str, frame: bool = False
) -> NDArray[np.uint8]:
    """A crop with outlines and words; ``frame``: with a red frame."""
    picture = np.asarray(cv2.resize(image_hw3, (TILE, TILE), interpolation=cv2.INTER_AREA), np.uint8)
    numbers = cv2.resize(classes_hw.astype(np.uint8), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    for classes, colour in COLOURS.items():
        inside = np.isin(numbers, [CLASSES.index(c) for c in classes]).astype(np.uint8)
        outline = inside - cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
        picture[outline > 0] = colour
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, TILE - 16, 8 * len(words) + 8, TILE), fill=(0, 0, 0))
    pen.text((4, TILE - 14), words, fill=(255, 255, 255))
    picture = np.array(image)
    if frame:
        cv2.rectangle(picture, (1, 1), (TILE - 2, TILE - 2), (255, 0, 0), 3)
    return picture


def sheet(tiles: Sequence[NDArray[np.uint8]], columns: int = 8) -> bytes:
    """A PNG file of the tiles in rows."""
    empty = [np.zeros((TILE, TILE, 3), np.uint8)] * (-len(tiles) % columns)
    every = [*tiles, *empty]
    rows = [np.concatenate(every[i : i + columns], axis=1) for i in range(0, len(every), columns)]
    return png(np.concatenate(rows))
