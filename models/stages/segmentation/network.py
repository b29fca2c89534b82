"""The network of ``segmentation``. Shapes: b batch, k classes, h w pixels of the crop or cells of the frequencies."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mosar.models import face_outlines
from mosar.models.face_classes import CLASSES
from mosar.models.networks.unet import UNet
from mosar.models.stages.segmentation.config import Config
from mosar.models.stages.segmentation.drawn_landmarks import OUTLINES, draw

LEAST = 1e-4  # probability that a class has anywhere
_FREQUENCY_SIDE = 64  # of the map of how often a class is found at a place; it is smooth


WINDOW = (0.25, 0.5833)
"""Height and width of the part around the eyes, as shares of the crop's side. It holds the frames of 24 of 25 virtual
people who wear glasses, whose rims reach .09 up and down and .25 to the sides in most crops; arms reach beyond."""


class Segmentation(nn.Module):
    """Class of each pixel of a face crop, from the crop and the drawn landmarks.

    A first network corrects how often each class was found at each place in training. A second one corrects that around
    the eyes, at a finer resolution.
    """

    frequency_1khw: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.size = config.crop_size
        inputs, classes = 3 + len(OUTLINES), len(CLASSES)
        self.network = UNet(inputs, classes, config.network)
        self.eyes = None if config.eyes is None else UNet(inputs + classes, classes, config.eyes)
        start = torch.full((1, classes, _FREQUENCY_SIDE, _FREQUENCY_SIDE), 1.0 / classes)
        self.register_buffer("frequency_1khw", start)

    def forward(self, image_b3hw: Tensor, landmarks_bl2: Tensor) -> Tensor:
        """Logits (b, k, h, w).

        Args:
            image_b3hw: sRGB-encoded in [0, 1], ``size`` pixels a side.
            landmarks_bl2: the detector's points, pixels of the crop.
        """
        size, coarse_size = self.size, self.config.coarse_size or self.size
        even = _standardized(image_b3hw)
        coarse = even
        if coarse_size != size:
            coarse = interpolate(even, size=(coarse_size, coarse_size), mode="bilinear", antialias=True)
        drawn = draw(landmarks_bl2 * (coarse_size / size), coarse_size)
        found: Tensor = self.network(torch.cat([coarse, 2.0 * drawn - 1.0], dim=1))
        if coarse_size != size:
            found = interpolate(found, size=(size, size), mode="bilinear", align_corners=False)
        logits = self.usual() + found
        if self.eyes is None:
            return logits
        near = window(landmarks_bl2, size)
        outlines = 2.0 * draw(landmarks_bl2, size) - 1.0
        parts = [cut(x, near) for x in (even, outlines, logits.softmax(dim=1))]
        # Brown frames on dark skin hardly differ from it, compared with hair and background.
        seen = torch.cat([_standardized(parts[0]), *parts[1:]], dim=1)
        return paste(logits, cut(logits, near) + self.eyes(seen), near)

    def usual(self) -> Tensor:
        """Logits (1, k, h, w) for the crop: how often each class was found at each place in training."""
        often = interpolate(self.frequency_1khw, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return often.clamp_min(LEAST).log()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        """Weights of before had as many frequencies as pixels."""
        name = f"{prefix}frequency_1khw"
        if name in state_dict and state_dict[name].shape != self.frequency_1khw.shape:
            state_dict[name] = interpolate(state_dict[name].float(), size=self.frequency_1khw.shape[-2:], mode="area")
        super()._load_from_state_dict(state_dict, prefix, *others)


def window(landmarks_bl2: Tensor, size: int) -> Tensor:
    """Indices (b, h w) of the pixels around the eyes in a crop of ``size`` x ``size`` pixels, all inside the crop."""
    eyes = [
        landmarks_bl2[:, list(outline)].mean(dim=1) for outline in (face_outlines.LEFT_EYE, face_outlines.RIGHT_EYE)
    ]
    height, width = _window_size(size)
    extent = landmarks_bl2.new_tensor([width, height])
    corner_b2 = (torch.stack(eyes).mean(dim=0) - extent / 2).round().clamp_min(0).minimum(size - extent).long()
    column = corner_b2[:, 0, None, None] + torch.arange(width, device=corner_b2.device)
    row = corner_b2[:, 1, None, None] + torch.arange(height, device=corner_b2.device)[:, None]
    return (row * size + column).flatten(1)


def cut(map_bchw: Tensor, window_bn: Tensor) -> Tensor:
    """The part (b, c, height, width) of a square map that :func:`window` tells."""
    index = window_bn[:, None].expand(-1, map_bchw.shape[1], -1)
    return map_bchw.flatten(2).gather(2, index).unflatten(2, _window_size(map_bchw.shape[-1]))


def paste(map_bchw: Tensor, part_bchw: Tensor, window_bn: Tensor) -> Tensor:
    """A copy of the map in which ``part`` stands at the window."""
    index = window_bn[:, None].expand(-1, map_bchw.shape[1], -1)
    return map_bchw.flatten(2).scatter(2, index, part_bchw.flatten(2)).unflatten(2, tuple(map_bchw.shape[-2:]))


def _standardized(map_bchw: Tensor) -> Tensor:
    """The maps with mean 0 and deviation 1 each; those of a deviation below 0.05 are multiplied by 20."""
    mean, spread = (f(dim=(1, 2, 3), keepdim=True) for f in (map_bchw.mean, map_bchw.std))
    return (map_bchw - mean) / spread.clamp_min(0.05)


def _window_size(size: int) -> tuple[int, int]:
    return round(WINDOW[0] * size), round(WINDOW[1] * size)
