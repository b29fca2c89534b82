"""Inference: classes of the crop's pixels."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mosar.models.face_classes import CLASSES
from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.segmentation.network import Segmentation

_FRAMES = 1.0
"""Added to the logits of frames of glasses. A missed frame stays on the avatar's skin; what is taken for one is filled
from around it. On people of the kind that training knows, it costs 0.025 of the overlap."""


def infer(module: Segmentation, estimate: Estimate) -> Estimate:
    """Tell the classes of the portrait's pixels."""
    portrait = estimate.portrait
    classes = classify(module, portrait.crop_13hw, portrait.landmarks_1n2)
    return replace(estimate, portrait=replace(portrait, classes_1khw=classes * portrait.inside_11hw))


@torch.no_grad()
def classify(module: Segmentation, crop_13hw: Tensor, landmarks_1n2: Tensor) -> Tensor:
    """Probabilities (1, k, h, w) of the classes of a square crop, sRGB-encoded in [0, 1]; landmarks in its pixels.

    Logits of the crop and of its mirror image are averaged (docs/evaluation.md says what it gives).
    """
    size = crop_13hw.shape[-1]
    image = interpolate(crop_13hw, size=(module.size, module.size), mode="area")
    landmarks = landmarks_1n2 * (module.size / size)
    # Left and right outlines are drawn alike, so the points need no other numbers.
    mirrored = torch.stack([module.size - landmarks[..., 0], landmarks[..., 1]], dim=-1)
    direct, other = module(torch.cat([image, image.flip(-1)]), torch.cat([landmarks, mirrored])).split(1)
    logits = (direct + other.flip(-1)) / 2
    logits[:, CLASSES.index("glasses")] += _FRAMES
    return interpolate(logits, size=(size, size), mode="bilinear", align_corners=False).softmax(dim=1)
