"""Light at a surface: irradiance, blurred by translucency, and prefiltered reflection.

Linear RGB. Shapes as in the package: points (B, N, 3), or packed (N, 3) with ``image_n``; l coefficients, c channels.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from mosar.models.shading import sh
from mosar.models.shading.series import series

SCATTERING = (0.05, 0.0125, 0.004375)
"""tau of R, G, B: width of the heat kernel at translucency 1; ratios of the channels after d'Eon 2007."""

COSINE = (1.0, 2 / 3, 1 / 4, 0.0, -1 / 24, 0.0, 1 / 64, 0.0, -1 / 128)
"""``A_l / pi`` of the clamped cosine (Ramamoorthi and Hanrahan 2001)."""


def irradiance(
    light_blc: Tensor, normals: Tensor, translucency: Tensor | None = None, image_n: Tensor | None = None
) -> Tensor:
    """Irradiance ``E^T_c(n) = sum A_l exp(-l (l + 1) tau_c T) L_lm,c Y_lm(n)`` of unit normals.

    Args:
        light_blc: (B, 81, 3), head frame.
        normals: (B, N, 3) or packed (N, 3), unit, head frame.
        translucency: (B, N, 1) or (N, 1) in [0, 1]; 0 is Lambert. None means 0 everywhere and is cheaper.
        image_n: index of each packed point's light, ascending.

    Returns:
        (B, N, 3) or (N, 3); negative where nine bands ring.
    """
    _check_bands(light_blc)
    light_blc = light_blc * _cosine(light_blc)[:, None]
    return series(light_blc, normals, image_n, translucency, () if translucency is None else SCATTERING)


def reflection(light_blc: Tensor, directions: Tensor, sharpness: float = 14.0, image_n: Tensor | None = None) -> Tensor:
    """Radiance filtered by the normalised Phong lobe: ``R_c(r) = sum Lam_l(s) L_lm,c Y_lm(r)``.

    ``directions`` (B, N, 3) or packed (N, 3) are mirror directions, unit, head frame. Nine bands cannot show a lobe
    sharper than 40. For lights with small bright sources pass ``sh.window(light)``.
    """
    _check_bands(light_blc)
    lobe_l = sh.per_coefficient(torch.tensor(_phong(float(sharpness)), dtype=torch.float64)).to(light_blc)
    return series(light_blc * lobe_l[:, None], directions, image_n)


def negative_lobes(light_blc: Tensor, sharpness: float = 14.0) -> Tensor:
    """Mean negative part (B) of irradiance and reflection over all directions: a penalty for predicted lights."""
    directions_n3 = sh.environment_directions(12, 24, light_blc.device)
    weight_n = torch.sin(torch.acos(directions_n3[..., 1])).flatten().to(light_blc)
    directions_bn3 = directions_n3.reshape(1, -1, 3).to(light_blc).expand(len(light_blc), -1, -1)
    both = torch.relu(-irradiance(light_blc, directions_bn3)) + torch.relu(
        -reflection(sh.window(light_blc), directions_bn3, sharpness)
    )
    return (both.mean(-1) * weight_n).sum(-1) / weight_n.sum()


def _check_bands(light_blc: Tensor) -> None:
    if light_blc.ndim != 3 or light_blc.shape[1] != sh.BANDS**2:
        raise ValueError(f"light: got {tuple(light_blc.shape)}; expected (B, {sh.BANDS**2}, channels)")


def _cosine(light_blc: Tensor) -> Tensor:
    return sh.per_coefficient(math.pi * torch.tensor(COSINE, dtype=torch.float64)).to(light_blc)


@lru_cache
def _phong(sharpness: float) -> tuple[float, ...]:
    """Exact coefficient of ``(s + 1) / (2 pi) max(cos, 0) ** s`` for each band."""
    if not sharpness > 0:
        raise ValueError(f"reflection: got sharpness {sharpness}; expected more than 0")
    lobe = [1.0, (sharpness + 1) / (sharpness + 2)]
    for degree in range(2, sh.BANDS):
        lobe.append((sharpness - degree + 2) / (sharpness + degree + 1) * lobe[degree - 2])
    return tuple(lobe)
