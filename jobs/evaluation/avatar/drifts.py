"""The same photograph, photographed again: exposure, white balance, compression, size, mirrored."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mosar.models.colour import LUMINANCE, to_linear, to_srgb

Image = NDArray[np.uint8]

MIRRORED, TURNED = "mirrored", "turned_30"
PHOTOMETRIC = ("one_stop_brighter", "half_a_stop_darker", "4500_k", "8000_k")


def brighter(image_hw3: Image, stops: float) -> Image:
    """Exposed longer by ``stops``, clipped as by a camera."""
    return _in_linear(image_hw3, np.full(3, 2.0**stops))


def under_temperature(image_hw3: Image, kelvin: float) -> Image:
    """As if the light of a photograph balanced for daylight had the colour of a black body of ``kelvin``."""
    gain = _black_body(kelvin) / _black_body(6504.0)
    return _in_linear(image_hw3, gain / (gain @ np.array(LUMINANCE)))


def jpeg(image_hw3: Image, quality: int = 30) -> Image:
    done, data = cv2.imencode(".jpg", image_hw3[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert done
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def half_size(image_hw3: Image) -> Image:
    height, width = image_hw3.shape[:2]
    return np.asarray(cv2.resize(image_hw3, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8)


def mirrored(image_hw3: Image) -> Image:
    return np.ascontiguousarray(image_hw3[:, ::-1])


DRIFTS: dict[str, Callable[[Image], Image]] = {
    "one_stop_brighter": lambda image: brighter(image, 1.0),
    "half_a_stop_darker": lambda image: brighter(image, -0.5),
    "4500_k": lambda image: under_temperature(image, 4500.0),
    "8000_k": lambda image: under_temperature(image, 8000.0),
    "jpeg_30": jpeg,
    "half_size": half_size,
    MIRRORED: mirrored,
}
"""Drifts of a photograph by name. ``turned_30`` is another: the avatar itself, turned, as a photograph."""


def _in_linear(image_hw3: Image, gain_3: NDArray[np.float64]) -> Image:
    linear = to_linear(torch.from_numpy(image_hw3.astype(np.float64) / 255)) * torch.from_numpy(gain_3)
    return np.asarray((to_srgb(linear.clamp(0, 1)) * 255).round().byte().numpy())


def _black_body(kelvin: float) -> NDArray[np.float64]:
    """Linear sRGB of luminance one of a black body, 4,000 to 25,000 K (Kim et al. 2002, the Planckian locus in xy)."""
    t = 1e3 / kelvin
    x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.24039
    y = 3.081758 * x**3 - 5.8733867 * x**2 + 3.75112997 * x - 0.37001483
    xyz = np.array([x / y, 1.0, (1 - x - y) / y])
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    return np.asarray(to_rgb @ xyz)
