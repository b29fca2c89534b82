"""Inference: classes of the crop's pixels."""

from dataclasses import replace

import torch
from torch.nn.functional import interpolate

from mosar.models.reconstruct.estimate import Estimate
from mosar.models.stages.segmentation.network import Segmentation


@torch.no_grad()
def infer(module: Segmentation, estimate: Estimate) -> Estimate:
    """Replace the classes that landmarks and colours alone gave."""
    portrait = estimate.portrait
    size = portrait.crop_13hw.shape[-1]
    image = interpolate(portrait.crop_13hw, size=(module.size, module.size), mode="area")
    logits = module(image, portrait.landmarks_1n2 * (module.size / size))
    fine = interpolate(logits, size=(size, size), mode="bilinear", align_corners=False).softmax(dim=1)
    return replace(estimate, portrait=replace(portrait, classes_1khw=fine))
