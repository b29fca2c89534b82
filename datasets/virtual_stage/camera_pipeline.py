"""Turn a capture into an everyday photograph: another camera's processing and file format, without ground truth."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets import crop, detection, portrait_statistics, schema
from mosar.models.head import LANDMARKS

if TYPE_CHECKING:
    from mosar.datasets.landmarks import Detector


def snapshot(
    stage_sample: Mapping[str, Any], linear_hw3: NDArray[np.float32], seed: int, detector: "Detector"
) -> dict[str, Any] | None:
    """The in-the-wild sample (see :mod:`mosar.datasets.schema`) made from a capture and its linear picture.

    None if the detector finds no face: such a photograph would not become a sample.
    """
    rng = np.random.default_rng([seed, 1])
    size = linear_hw3.shape[0]
    image = develop(linear_hw3, rng)
    mask = np.array(stage_sample["mask"])
    if rng.random() < 0.6:
        image, mask = _cut(image, mask, portrait_statistics.load().margins(rng))
    seen = detection.observe(detector, schema.stored(image))
    if not detection.found(seen):
        return None
    marks = np.concatenate([seen["detected"][:, :2], np.ones((LANDMARKS, 1), np.float32)], 1)
    capture = stage_sample["capture"]
    return {
        "image": image,
        "mask": mask,
        "landmarks": marks,
        **seen,
        "camera": {"size": size, "intrinsics": _assumed(marks, size, rng).round(5).tolist()},
        "capture": {"subject": capture["subject"], "source": "virtual", "licence": capture["licence"]},
    }


def _cut(
    image_hw3: NDArray[np.uint8], mask_hw: NDArray[np.uint8], outside_4: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """As in a crop that reaches beyond the photograph by these shares (left, top, right, bottom)."""
    size = len(image_hw3)
    left, top, right, bottom = np.floor(outside_4 * size).astype(int)
    inside = image_hw3[top : size - bottom, left : size - right]
    cut = np.zeros_like(mask_hw)
    cut[top : size - bottom, left : size - right] = mask_hw[top : size - bottom, left : size - right]
    filled = cv2.copyMakeBorder(inside, top, bottom, left, right, cv2.BORDER_REPLICATE)
    return np.asarray(filled, np.uint8), cut


def develop(linear_hw3: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Simulate a camera on linear radiance: lens blur, white balance, noise, tone curve, sharpening, 8 bits, JPEG."""
    size = linear_hw3.shape[0]
    image = cv2.GaussianBlur(linear_hw3, (0, 0), size / 256 * rng.uniform(0.2, 1.1))
    balance = np.exp(rng.normal(0, 0.05, 3) + rng.normal(0, 0.07) * np.array([1, 0, -1]))
    image = image * balance * np.exp(rng.normal(0, 0.12))
    noise = np.exp(rng.uniform(np.log(0.002), np.log(0.03)))
    image = image + rng.normal(0, 1, image.shape) * noise * np.sqrt(np.clip(image, 0, 1) * 0.3 + 0.002)
    shoulder = rng.uniform(0.6, 1.0)
    image = np.clip(image, 0, None)
    image = np.where(
        image < shoulder, image, shoulder + (1 - shoulder + 1e-3) * np.tanh((image - shoulder) / (1.001 - shoulder))
    )
    encoded = np.clip(image, 0, 1) ** (1 / rng.uniform(2.0, 2.5))
    contrast = rng.uniform(-0.05, 0.25)
    encoded = encoded + contrast * (encoded - 0.5) * encoded * (1 - encoded) * 4
    grey = encoded.mean(-1, keepdims=True)
    encoded = grey + (encoded - grey) * rng.uniform(0.85, 1.15)
    if rng.random() < 0.5:
        encoded = encoded + rng.uniform(0.2, 0.8) * (encoded - cv2.GaussianBlur(encoded, (0, 0), 1.2))
    pixels = (np.clip(encoded, 0, 1) * 255 + 0.5).astype(np.uint8)
    done, data = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(55, 95))))
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def _assumed(marks_l3: NDArray[np.float32], size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Intrinsics of the crop, as assumed for a photograph around it whose side is 1 to 3 times the crop's."""
    side = size * rng.uniform(1.0, 3.0)
    corner = -(side - size) * rng.uniform(0.2, 0.8, 2)
    moved = crop.transform_points(marks_l3, np.array([[1, 0, -corner[0]], [0, 1, -corner[1]], [0, 0, 1]]))
    whole = crop.assumed_intrinsics(moved, round(side), round(side))
    return np.array([[1, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]]) @ whole
