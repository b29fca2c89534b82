"""How a correction of a photograph's texture differs from what another light would do. Shapes: b batch, h w texels."""

import torch
from torch import Tensor

from mosar.models.colour import luminance, to_srgb
from mosar.models.losses import l1
from mosar.models.precision import full_precision
from mosar.models.shading import sh

_BANDS = 4  # of harmonics over the normals; a fifth explains little more
_RIDGE = 1e-3  # keeps the fit finite where few normals are seen
_EVEN = 0.01  # variance of the logarithm of a shading below which it tells little
_DARK = 0.02  # keeps logarithms of dark colours finite


def unexplained(before_b3hw: Tensor, after_b3hw: Tensor, normal_b3hw: Tensor, weight_b1hw: Tensor) -> Tensor:
    """Mean difference of two textures, sRGB-encoded, that no change of the light explains; on weighted texels.

    Nobody knows the albedo of a photograph, but shaded again it must give the photograph. A change of a smooth light
    multiplies a texture by a smooth function of the normal. So the logarithm of ``after / before`` may be any sum of
    four bands of harmonics of the normal, which are fitted channel by channel; the rest counts.

    Args:
        before_b3hw, after_b3hw: linear RGB.
        normal_b3hw: unit normals, head frame.
        weight_b1hw: in [0, 1], how well the photograph shows a texel.
    """
    before, after = (m.clamp_min(0.0) + _DARK for m in (before_b3hw, after_b3hw))
    with torch.no_grad():
        smooth = _smooth((after / before).log(), normal_b3hw, weight_b1hw)
    return l1(_encoded(after - _DARK), _encoded(before * smooth.exp() - _DARK), weight_b1hw)


@full_precision
def light_left(found_b3hw: Tensor, true_b3hw: Tensor, shading_b3hw: Tensor, weight_b1hw: Tensor) -> Tensor:
    """How much of the light is left in each even texture (b): slope of log(found / true) over the log of the shading.

    0 if nothing goes with the light, 1 if all of it is left, negative if too much was taken off. Each network that is
    unsure of the light takes off too little on average, because that errs least.

    Args:
        found_b3hw, true_b3hw: linear RGB.
        shading_b3hw: irradiance / pi of the light in which the texture was seen.
        weight_b1hw: in [0, 1], how well the photograph shows a texel.
    """
    found, true, shading = (
        (luminance(m.clamp_min(0.0)) + _DARK).log().flatten(1) for m in (found_b3hw, true_b3hw, shading_b3hw)
    )
    weight = weight_b1hw.flatten(1) / weight_b1hw.flatten(1).sum(dim=1, keepdim=True).clamp_min(1e-6)
    apart = shading - (weight * shading).sum(dim=1, keepdim=True)
    return (weight * apart * (found - true)).sum(dim=1) / ((weight * apart.square()).sum(dim=1) + _EVEN)


@full_precision
def _smooth(change_b3hw: Tensor, normal_b3hw: Tensor, weight_b1hw: Tensor) -> Tensor:
    """The part of ``change`` that is a sum of harmonics of the normal: weighted least squares."""
    basis_bnk = sh.evaluate(normal_b3hw.flatten(2).mT, _BANDS)
    weighted_bnk = basis_bnk * weight_b1hw.flatten(2).mT
    count = weight_b1hw.sum(dim=(1, 2, 3)).clamp_min(1.0)[:, None, None]
    gram = weighted_bnk.mT @ basis_bnk / count + _RIDGE * torch.eye(_BANDS**2).to(basis_bnk)
    wanted = weighted_bnk.mT @ change_b3hw.flatten(2).mT / count
    return (basis_bnk @ torch.linalg.solve(gram, wanted)).mT.unflatten(-1, change_b3hw.shape[-2:])


def _encoded(linear_b3hw: Tensor) -> Tensor:
    return to_srgb(linear_b3hw.clamp(0.0, 1.0))
