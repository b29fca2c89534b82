"""Squares of an image, turned and resized, as the input of a network. Pixel centres are at integers + 0.5."""

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MEAN_RGB = torch.tensor([122.782, 117.001, 104.298])
"""Mean colour of the networks' training images, 0 to 255 sRGB."""


def affine(centre_px: NDArray[np.floating], side_px: float, turn: float, size: int) -> NDArray[np.float64]:
    """Affine map (2 x 3) from pixels of the ``size`` x ``size`` square to pixels of the image.

    ``turn``: angle (radians) in the image from its x axis, towards its y axis, to the x axis of the square.
    """
    scale = side_px / size
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return np.column_stack([linear, np.asarray(centre_px, np.float64) - linear @ np.full(2, size / 2)])


def level(right_eye_px: NDArray[np.floating], left_eye_px: NDArray[np.floating]) -> float:
    """Angle (radians) from the image's x axis to the line from the person's right eye to the left one."""
    across, down = left_eye_px - right_eye_px
    return math.atan2(down, across)


def cut(image_hw3: NDArray[np.uint8], affine_23: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Sample a square (size, size, 3; 0 to 255, sRGB) of an image; black beyond its border, as the networks learned.

    A square coarser than the image averages several samples a pixel, so that the size of an image matters little.
    """
    scale = float(np.hypot(affine_23[0, 0], affine_23[1, 0]))
    count = max(1, math.ceil(scale))
    inverse = affine_23.copy()
    inverse[:, :2] /= count
    inverse[:, 2] += inverse[:, :2] @ np.full(2, 0.5) - 0.5  # OpenCV has pixel centres at integers
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fine = cv2.warpAffine(image_hw3, inverse, (size * count, size * count), flags=flags)
    return np.asarray(fine.reshape(size, count, size, count, 3).mean((1, 3), dtype=np.float32))


def network_input(squares: list[NDArray[np.float32]]) -> Tensor:
    """Stack squares (each S S 3, 0 to 255) to a batch (B 3 S S) as the networks expect it: mean colour subtracted."""
    return ((torch.from_numpy(np.stack(squares)) - _MEAN_RGB) / 255).permute(0, 3, 1, 2).contiguous()
