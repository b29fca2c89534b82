"""Photometric augmentation of photographs: what cameras, codecs and editors do to a picture, never moving a pixel.

The only module that knows albumentations.
"""

import functools
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray


@functools.cache
def _pipeline() -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import asks the network otherwise
    import albumentations as A  # noqa: N812

    return A.Compose([
        A.PlanckianJitter(mode="blackbody", temperature_limit=(4500, 9000), p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.12, contrast_limit=0.15, p=0.5),
        A.RandomGamma(gamma_limit=(80, 125), p=0.4),
        A.HueSaturationValue(hue_shift_limit=3, sat_shift_limit=15, val_shift_limit=0, p=0.3),
        A.OneOf([A.GaussianBlur(blur_limit=(3, 5)), A.Downscale(scale_range=(0.4, 0.9))], p=0.35),
        A.OneOf([A.GaussNoise(std_range=(0.01, 0.05)), A.ISONoise(intensity=(0.05, 0.3))], p=0.35),
        A.ImageCompression(quality_range=(40, 95), p=0.5),
    ])  # fmt: skip


def photometric(image_hw3: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """White balance, contrast, gamma, blur, noise and JPEG on an sRGB image; the same seed gives the same picture."""
    pipeline = _pipeline()
    pipeline.set_random_seed(seed % 2**32)
    return np.asarray(pipeline(image=np.ascontiguousarray(image_hw3))["image"], np.uint8)
