"""Prepare a photograph of a face for the networks: crop, skin mask, landmarks and assumed camera."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop
from mosar.datasets.skin_mask import skin_mask


@dataclass(frozen=True, eq=False)
class PortraitCrop:
    """A face in the square crop that training streams and inference share.

    Attributes:
        image_hw3: sRGB, uint8; beyond the photograph its border pixels are repeated.
        mask_hw: uint8, 255 on the facial skin that the landmarks outline, inside the photograph.
        landmarks_n2: the detector's points, pixels of the crop.
        intrinsics_33: assumed intrinsics, in pixels of the crop.
        to_crop_33: affine map from pixels of the photograph to those of the crop.
    """

    image_hw3: NDArray[np.uint8]
    mask_hw: NDArray[np.uint8]
    landmarks_n2: NDArray[np.float32]
    intrinsics_33: NDArray[np.float64]
    to_crop_33: NDArray[np.float64]


def crop_portrait(image_hw3: NDArray[np.uint8], landmarks_n2: NDArray[np.floating], size: int) -> PortraitCrop:
    """The ``size`` x ``size`` crop around a face in a photograph; ``landmarks_n2``: pixels of the photograph."""
    to_crop = crop.face_crop(landmarks_n2, size)
    landmarks = crop.transform_points(landmarks_n2, to_crop)
    whole = np.full(image_hw3.shape[:2], 255, np.uint8)
    inside = crop.warp(whole, to_crop, size, cv2.BORDER_CONSTANT) > 127
    return PortraitCrop(
        image_hw3=crop.warp(image_hw3, to_crop, size),
        mask_hw=skin_mask(landmarks, size, size) * inside.astype(np.uint8),
        landmarks_n2=landmarks,
        intrinsics_33=to_crop @ crop.assumed_intrinsics(landmarks_n2, *image_hw3.shape[:2]),
        to_crop_33=to_crop,
    )
