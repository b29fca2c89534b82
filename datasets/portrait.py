"""Prepare a photograph of a face for the networks: crop, landmarks and assumed camera."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop

_FLAT = 8  # largest difference of 8-bit values within a border: the noise of JPEG
_THINNEST = 2  # rows of a border


@dataclass(frozen=True, eq=False)
class PortraitCrop:
    """A face in the square crop that training streams and inference share.

    Attributes:
        image_hw3: sRGB, uint8; beyond the photograph's scene its border pixels are repeated.
        inside_hw: bool, which pixels show the photograph's scene.
        landmarks_n2: the detector's points, pixels of the crop.
        intrinsics_33: assumed intrinsics, in pixels of the crop.
        to_crop_33: affine map from pixels of the photograph to those of the crop.
    """

    image_hw3: NDArray[np.uint8]
    inside_hw: NDArray[np.bool_]
    landmarks_n2: NDArray[np.float32]
    intrinsics_33: NDArray[np.float64]
    to_crop_33: NDArray[np.float64]


def crop_portrait(image_hw3: NDArray[np.uint8], landmarks_n2: NDArray[np.floating], size: int) -> PortraitCrop:
    """The ``size`` x ``size`` crop around a face in a photograph; ``landmarks_n2``: pixels of the photograph."""
    to_crop = crop.face_crop(landmarks_n2, size)
    left, top, right, bottom = scene_box(image_hw3)
    scene = image_hw3[top:bottom, left:right]
    move = np.array([[1.0, 0, left], [0, 1.0, top], [0, 0, 1.0]])
    whole = np.full(scene.shape[:2], 255, np.uint8)
    return PortraitCrop(
        image_hw3=crop.warp(scene, to_crop @ move, size),
        inside_hw=crop.warp(whole, to_crop @ move, size, cv2.BORDER_CONSTANT) > 127,
        landmarks_n2=crop.transform_points(landmarks_n2, to_crop),
        intrinsics_33=to_crop @ move @ crop.assumed_intrinsics(landmarks_n2 - [left, top], *scene.shape[:2]),
        to_crop_33=to_crop,
    )


def scene_box(image_hw3: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a photograph that is no uniform border (frames, bars, paper).

    A border tells nothing of the scene's light. A side with a plain background is none: a border has one colour, up to
    the noise of JPEG, over whole rows or columns.
    """
    height, width = image_hw3.shape[:2]
    top, bottom = _borders(image_hw3)
    left, right = _borders(image_hw3[top : height - bottom].transpose(1, 0, 2))
    return left, top, width - right, height - bottom


def _borders(image_hw3: NDArray[np.uint8]) -> tuple[int, int]:
    """Number of uniform rows at the top and at the bottom; none if they would take more than half of the image."""
    flat = np.ptp(image_hw3.reshape(len(image_hw3), -1, 3).astype(np.int16), axis=1).max(axis=1) <= _FLAT
    means = image_hw3.reshape(len(image_hw3), -1, 3).mean(axis=1)
    found = []
    for order in (slice(None), slice(None, None, -1)):
        same = flat[order] & (np.abs(means[order] - means[order][0]).max(axis=1) <= _FLAT)
        found.append(int(np.argmin(same)) if not same.all() else 0)
    # One plain row is no border, and a border ends at an edge.
    found = [n if n >= _THINNEST else 0 for n in found]
    return (found[0], found[1]) if sum(found) < len(image_hw3) // 2 else (0, 0)
