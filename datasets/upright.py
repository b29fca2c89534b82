"""Turn a photograph such that a face in it is upright, as the networks know faces."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop

_TILT = np.radians(2.0)
"""Heads that are tilted less stay so: every turn that is not a quarter resamples the photograph. With this limit the
neutral mesh of a turned photograph stays within a millimetre of the upright one's."""


@dataclass(frozen=True, eq=False)
class Upright:
    """A turned photograph.

    Attributes:
        image_hw3: the whole photograph, sRGB; corners beyond it repeat its border pixels.
        landmarks_n2: of the face, pixels of ``image_hw3``.
        turn_33: affine map (a turn and a shift) from pixels of the photograph to those of ``image_hw3``.
        corners_42: corners of the photograph, clockwise from its top left, pixels of ``image_hw3``.
    """

    image_hw3: NDArray[np.uint8]
    landmarks_n2: NDArray[np.float32]
    turn_33: NDArray[np.float64]
    corners_42: NDArray[np.float32]


def turn_upright(image_hw3: NDArray[np.uint8], landmarks_n2: NDArray[np.floating]) -> Upright:
    """Turn an image by quarters, which moves pixels without change, and by the rest if the face is still tilted.

    ``landmarks_n2``: the detector's points (478, 2), pixels of the image.
    """
    roll = crop.roll(landmarks_n2)
    quarter = round(roll / (np.pi / 2))
    rest = roll - quarter * np.pi / 2
    turned = np.ascontiguousarray(np.rot90(image_hw3, quarter % 4))
    turn_33 = _centred(quarter * np.pi / 2, image_hw3.shape, turned.shape)
    if abs(rest) > _TILT:
        height, width = turned.shape[:2]
        cos, sin = abs(np.cos(rest)), abs(np.sin(rest))
        size = int(np.ceil(height * cos + width * sin)), int(np.ceil(width * cos + height * sin))
        rest_33 = _centred(rest, turned.shape, size)
        half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])  # OpenCV has pixel centres at integers
        matrix = (half @ rest_33 @ np.linalg.inv(half))[:2]
        turned = np.asarray(
            cv2.warpAffine(turned, matrix, size[::-1], flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE),
            np.uint8,
        )
        turn_33 = rest_33 @ turn_33
    corners = crop.transform_points(crop.corners(*image_hw3.shape[:2]), turn_33)
    return Upright(turned, crop.transform_points(landmarks_n2, turn_33), turn_33, corners)


def _centred(angle: float, old: tuple[int, ...], new: tuple[int, ...]) -> NDArray[np.float64]:
    """The turn by ``angle`` that moves the centre of an image of the shape ``old`` to that of ``new``."""
    shift_33 = np.eye(3)
    shift_33[:2, 2] = (new[1] - old[1]) / 2, (new[0] - old[0]) / 2
    return shift_33 @ crop.turn(angle, old[0], old[1])
