"""Inference: classes of the crop's pixels."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.segmentation.network import Segmentation


def infer(module: Segmentation, estimate: Estimate) -> Estimate:
    """Tell the classes of the portrait's pixels."""
    portrait = estimate.portrait
    classes = classify(module, portrait.crop_13hw, portrait.landmarks_1n2)
    return replace(estimate, portrait=replace(portrait, classes_1khw=classes * portrait.inside_11hw))


@torch.no_grad()
def classify(module: Segmentation, crop_13hw: Tensor, landmarks_1n2: Tensor) -> Tensor:
    """Probabilities (1, k, h, w) of the classes of a square crop, sRGB-encoded in [0, 1]; landmarks in its pixels."""
    size = crop_13hw.shape[-1]
    image = interpolate(crop_13hw, size=(module.size, module.size), mode="area")
    logits: Tensor = module(image, landmarks_1n2 * (module.size / size))
    return interpolate(logits, size=(size, size), mode="bilinear", align_corners=False).softmax(dim=1)
