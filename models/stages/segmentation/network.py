"""The network of ``segmentation``. Shapes: b batch, k classes, h w pixels of the crop."""

import torch
from torch import Tensor, nn

from mosar.models.face_classes import CLASSES
from mosar.models.networks.unet import UNet
from mosar.models.stages.segmentation.config import Config
from mosar.models.stages.segmentation.drawn_landmarks import OUTLINES, draw

LEAST = 1e-4  # probability that a class has anywhere


class Segmentation(nn.Module):
    """Class of each pixel of a face crop, from the crop and the drawn landmarks.

    The network corrects how often each class was found at each place in training.
    """

    frequency_1khw: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.size = config.crop_size
        self.network = UNet(3 + len(OUTLINES), len(CLASSES), config.network)
        start = torch.full((1, len(CLASSES), self.size, self.size), 1.0 / len(CLASSES))
        self.register_buffer("frequency_1khw", start)

    def forward(self, image_b3hw: Tensor, landmarks_bl2: Tensor) -> Tensor:
        """Logits (b, k, h, w).

        Args:
            image_b3hw: sRGB-encoded in [0, 1], ``size`` pixels a side.
            landmarks_bl2: the detector's points, pixels of the crop.
        """
        mean = image_b3hw.mean(dim=(1, 2, 3), keepdim=True)
        spread = image_b3hw.std(dim=(1, 2, 3), keepdim=True).clamp_min(0.05)
        drawn = draw(landmarks_bl2, image_b3hw.shape[-1])
        found: Tensor = self.network(torch.cat([(image_b3hw - mean) / spread, 2.0 * drawn - 1.0], dim=1))
        return self.frequency_1khw.clamp_min(LEAST).log() + found
