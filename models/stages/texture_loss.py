"""The loss of a corrected texture. Shapes: b batch, h w rows and columns."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mosar.models.losses import gradient, l1

_BLUR = 1 / 24  # window of the blur, as a share of the chart's side


def texture_losses(
    prediction_b3hw: Tensor, truth_b3hw: Tensor, weight_b1hw: Tensor, estimated_b: Tensor, gradient_weight: float
) -> dict[str, Tensor]:
    """Differences from the truth and between gradients, on weighted texels; colours are sRGB-encoded.

    A picture that is unwrapped through an estimated mesh is off by a texel or two. A sharp comparison would teach to
    fade brows, moles and lips, because each lies beside its truth. So the captures in ``estimated`` are compared
    blurred: corrections are smooth anyway.
    """
    rough = estimated_b[:, None, None, None]
    prediction, truth = (torch.where(rough, _blurred(m, weight_b1hw), m) for m in (prediction_b3hw, truth_b3hw))
    return {
        "l1": l1(prediction, truth, weight_b1hw),
        "gradient": gradient_weight * gradient(prediction, truth, weight_b1hw),
    }


def _blurred(map_bchw: Tensor, weight_b1hw: Tensor) -> Tensor:
    """Weighted means over a window of two boxes."""
    side = 2 * max(1, round(_BLUR * map_bchw.shape[-1] / 2)) + 1

    def box(m: Tensor) -> Tensor:
        return avg_pool2d(m, side, stride=1, padding=side // 2, count_include_pad=False)

    return box(box(map_bchw * weight_b1hw)) / box(box(weight_b1hw)).clamp_min(1e-3)
