"""Losses and metrics on maps, without a pretrained network. Shapes: b batch, c channels, h w rows and columns.

A weight (b or 1, 1, h, w) says how much each texel counts. Means are weighted means, so texels of weight zero (holes
and margins of a chart) have no effect. Without a weight all texels count equally.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import avg_pool2d, interpolate, relu

from mosar.models.vectors import unit


def weighted_mean(values_bchw: Tensor, weight_b1hw: Tensor | None = None) -> Tensor:
    """Mean over batch, channels and texels; 0 if all weights are 0."""
    if weight_b1hw is None:
        return values_bchw.mean()
    weight = weight_b1hw.to(values_bchw.dtype).expand_as(values_bchw)
    return (values_bchw * weight).sum() / weight.sum().clamp_min(1e-6)


def l1(maps_bchw: Tensor, truth_bchw: Tensor, weight_b1hw: Tensor | None = None) -> Tensor:
    """Mean absolute difference."""
    return weighted_mean((maps_bchw - truth_bchw).abs(), weight_b1hw)


def gradient(maps_bchw: Tensor, truth_bchw: Tensor, weight_b1hw: Tensor | None = None, scales: int = 3) -> Tensor:
    """Mean absolute error of the differences between neighbouring texels, at ``scales`` scales (after MegaDepth, 2018).

    Each scale halves the resolution of the one before. A difference has the lower weight of its two texels.
    """
    error = maps_bchw - truth_bchw
    weight = torch.ones_like(error[:, :1]) if weight_b1hw is None else weight_b1hw.to(error.dtype)
    total = error.new_zeros(())
    for scale in range(scales):
        if scale:
            # The weighted average keeps texels outside the chart from leaking into the coarser scale.
            coarse = avg_pool2d(weight, 2)
            error, weight = avg_pool2d(error * weight, 2) / coarse.clamp_min(1e-6), coarse
        for axis in (-1, -2):
            n = error.shape[axis]
            both = torch.minimum(weight.narrow(axis, 1, n - 1), weight.narrow(axis, 0, n - 1))
            total = total + weighted_mean(error.diff(dim=axis).abs(), both)
    return total / (2 * scales)


def cosine(vectors_b3hw: Tensor, truth_b3hw: Tensor, weight_b1hw: Tensor | None = None) -> Tensor:
    """Mean of one minus the cosine between two vector fields."""
    return weighted_mean(1.0 - (unit(vectors_b3hw) * unit(truth_b3hw)).sum(dim=1, keepdim=True), weight_b1hw)


def total(losses: Mapping[str, Tensor]) -> Tensor:
    """The sum of named scalars."""
    return torch.stack(list(losses.values())).sum()


def adversarial(discriminator: nn.Module, fake_bchw: Tensor, real_bchw: Tensor, weight: float) -> dict[str, Tensor]:
    """Weighted hinge losses of a generator and its discriminator, to be minimised together by one optimiser.

    The gradient of ``adversarial`` reaches the generator only: it calls the discriminator with detached weights. The
    gradient of ``discriminator`` reaches the discriminator only: it uses detached pictures.
    """
    frozen: Mapping[str, Tensor] = {n: p.detach() for n, p in discriminator.named_parameters()}
    scores_fake = discriminator(fake_bchw.detach())
    scores_real = discriminator(real_bchw.detach())
    return {
        "adversarial": -weight * functional_call(discriminator, dict(frozen), (fake_bchw,)).mean(),
        "discriminator": weight * (relu(1.0 + scores_fake).mean() + relu(1.0 - scores_real).mean()),
    }


def ssim(maps_bchw: Tensor, truth_bchw: Tensor, weight_b1hw: Tensor | None = None) -> Tensor:
    """Structural similarity (Wang et al. 2004) of maps in [0, 1]: weighted mean in [-1, 1].

    The 7 x 7 box windows are not weighted, so texels within 3 of a hole depend on its values.
    """

    def box(x: Tensor) -> Tensor:
        return avg_pool2d(x, 7, stride=1, padding=3, count_include_pad=False)

    mean, mean_truth = box(maps_bchw), box(truth_bchw)
    spread, spread_truth = box(maps_bchw.square()) - mean.square(), box(truth_bchw.square()) - mean_truth.square()
    both = box(maps_bchw * truth_bchw) - mean * mean_truth
    likeness = (2 * mean * mean_truth + 1e-4) * (2 * both + 9e-4)
    norm = (mean.square() + mean_truth.square() + 1e-4) * (spread + spread_truth + 9e-4)
    return weighted_mean(likeness / norm, weight_b1hw)


def psnr(maps_bchw: Tensor, truth_bchw: Tensor, weight_b1hw: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio, dB, of maps in [0, 1]."""
    return -10.0 * weighted_mean((maps_bchw - truth_bchw).square(), weight_b1hw).clamp_min(1e-10).log10()


def resized(maps_bchw: Tensor, like_bchw: Tensor) -> Tensor:
    """Maps at the size of ``like``: bilinear where they grow, the mean over the area where they shrink."""
    size = like_bchw.shape[-2:]
    if maps_bchw.shape[-2:] == size:
        return maps_bchw
    if size[0] < maps_bchw.shape[-2]:
        return interpolate(maps_bchw, size=size, mode="area")
    return interpolate(maps_bchw, size=size, mode="bilinear", align_corners=False)
