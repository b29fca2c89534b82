"""Augmentation of photographs: effects of cameras, codecs and editors, and patches that occlude the face.

The only module that imports albumentations. Nothing here moves a pixel: :mod:`mosar.datasets.decode` jitters the crop
and moves camera, landmarks and mask with it. The mask excludes the patches, and landmarks below a patch are marked
hidden.
"""

import functools
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EXPOSURE, _BALANCE = 0.15, 0.06  # deviations of the logarithms of gains: of all channels, and of each
OCCLUDED = 0.3
"""Share of the photographs in which patches occlude the face."""


@functools.cache
def _photometric() -> Any:
    a = _albumentations()
    return a.Compose([
        a.PlanckianJitter(mode="blackbody", temperature_limit=(4500, 9000), p=0.5),
        a.RandomBrightnessContrast(brightness_limit=0.12, contrast_limit=0.15, p=0.5),
        a.RandomGamma(gamma_limit=(80, 125), p=0.4),
        a.HueSaturationValue(hue_shift_limit=3, sat_shift_limit=15, val_shift_limit=0, p=0.3),
        *_effects(),
    ])  # fmt: skip


@functools.cache
def _camera_effects() -> Any:
    return _albumentations().Compose(_effects())


def _effects() -> list[Any]:
    a = _albumentations()
    return [
        a.OneOf([a.GaussianBlur(blur_limit=(3, 5)), a.Downscale(scale_range=(0.4, 0.9))], p=0.35),
        a.OneOf([a.GaussNoise(std_range=(0.01, 0.05)), a.ISONoise(intensity=(0.05, 0.3))], p=0.35),
        a.ImageCompression(quality_range=(40, 95), p=0.5),
    ]


@functools.cache
def _occlusion() -> Any:
    a = _albumentations()
    size = {"hole_height_range": (0.08, 0.3), "hole_width_range": (0.08, 0.3), "num_holes_range": (1, 2)}
    holes = [a.CoarseDropout(**size, fill=fill, fill_mask=0) for fill in ("random_uniform", "random", "inpaint_ns")]
    points = a.KeypointParams(format="xy", remove_invisible=True, label_fields=["number"])
    return a.Compose([a.OneOf(holes, p=1.0)], keypoint_params=points)


def photometric(image_hw3: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Change white balance, contrast, gamma, blur, noise and JPEG quality of an sRGB image; ``seed`` decides how."""
    pipeline = _photometric()
    pipeline.set_random_seed(seed % 2**32)
    return np.asarray(pipeline(image=np.ascontiguousarray(image_hw3))["image"], np.uint8)


def camera_effects(image_hw3: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Change blur, noise and JPEG quality of an sRGB image, but not its colours; ``seed`` decides how."""
    pipeline = _camera_effects()
    pipeline.set_random_seed(seed % 2**32)
    return np.asarray(pipeline(image=np.ascontiguousarray(image_hw3))["image"], np.uint8)


def expose(
    image_3hw: NDArray[np.uint8], light_l3: NDArray[np.float32], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Change exposure and white balance: the same gains of linear RGB for an sRGB image and the light that it shows."""
    import torch  # Readers of stages without a light start faster without it.

    from mosar.models.colour import to_linear, to_srgb

    rng = np.random.default_rng([seed % 2**32, 1])
    gain_3 = np.exp(rng.normal(0, _EXPOSURE) + rng.normal(0, _BALANCE, 3)).astype(np.float32)
    linear_k = to_linear(torch.arange(256) / 255)
    encoded_3k = to_srgb((torch.from_numpy(gain_3)[:, None] * linear_k).clamp(0, 1))
    table_3k = (255 * encoded_3k + 0.5).byte().numpy()
    return np.stack([table_3k[i][image_3hw[i]] for i in range(3)]), light_l3 * gain_3


def occlude(
    image_hw3: NDArray[np.uint8], landmarks_l3: NDArray[np.float32], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
    """Cover parts of the face with patches of colour, noise or inpainted smear; the same seed gives the same patches.

    Returns the image, which pixels (h, w) the patches cover, and the landmarks (px, visibility; 0.5 under a patch).
    """
    pipeline = _occlusion()
    pipeline.set_random_seed(seed % 2**32)
    height, width = image_hw3.shape[:2]
    at = landmarks_l3[:, :2]
    inside = np.flatnonzero((landmarks_l3[:, 2] == 1) & ((at > 0) & (at < [width, height])).all(1))
    found = pipeline(
        image=np.ascontiguousarray(image_hw3),
        mask=np.ones((height, width), np.uint8),
        keypoints=at[inside],
        number=inside,
    )
    landmarks = landmarks_l3.copy()
    landmarks[np.setdiff1d(inside, np.asarray(found["number"], np.int64)), 2] = 0.5
    return np.asarray(found["image"], np.uint8), np.asarray(found["mask"]) == 0, landmarks


def _albumentations() -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # otherwise its import contacts the network
    import albumentations

    return albumentations
