"""Real spherical harmonics: evaluation, series, rotation, environment maps and directional lights.

The index is ``l * l + l + m``; theta is measured from +z of the head frame; there is no Condon-Shortley sign:
``Y_lm = K_l|m| P_l^|m|(cos theta) {sqrt2 cos(m phi), 1, sqrt2 sin(|m| phi)}`` for m > 0, m = 0, m < 0.
The pixel (u, v) of an environment map, v from the top, has phi = 2 pi u, theta = pi v and the direction (sin th sin ph,
cos th, -sin th cos ph): the centre of the image is +z and u = 1/4 is +x. Colours are linear radiance.
Shapes: b batch, n points, l coefficients (bands ** 2), c channels, h w rows and columns.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosar.models.precision import full_precision
from mosar.models.shading.basis import basis
from mosar.models.shading.series import check_light, series

__all__ = [
    "BANDS", "directional", "environment_directions", "evaluate", "from_environment", "per_coefficient", "rotate",
    "row_solid_angles", "series", "to_environment", "window",
]  # fmt: skip

BANDS = 9


def evaluate(directions_n3: Tensor, bands: int = BANDS) -> Tensor:
    """All harmonics (..., bands ** 2) of unit directions (..., 3)."""
    if directions_n3.ndim < 1 or directions_n3.shape[-1] != 3:
        raise ValueError(f"evaluate: got directions {tuple(directions_n3.shape)}; expected (..., 3)")
    return torch.stack(basis(directions_n3, bands), -1)


@full_precision
def rotate(light_blc: Tensor, rotation_b33: Tensor) -> Tensor:
    """Lights after ``rotation_b33`` is applied to the world around the head: ``L'(R w) = L(w)``."""
    check_light(light_blc)
    if rotation_b33.ndim != 3 or rotation_b33.shape[1:] != (3, 3):
        raise ValueError(f"rotate: got rotation {tuple(rotation_b33.shape)}; expected (B, 3, 3)")
    bands = math.isqrt(light_blc.shape[1])
    nodes, weights = (x.to(light_blc) for x in _quadrature(bands))
    turned_bnl = evaluate(nodes @ rotation_b33, bands)  # nodes in the unrotated world: R^T w
    return evaluate(nodes, bands).mT @ (weights[:, None] * (turned_bnl @ light_blc))


def directional(direction_b3: Tensor, colour_b3: Tensor, bands: int = BANDS) -> Tensor:
    """Distant point lights (B, bands ** 2, 3).

    ``direction_b3`` points to the light, unit; ``colour_b3`` is the irradiance of a surface that faces it.
    """
    return evaluate(direction_b3, bands)[..., None] * colour_b3[..., None, :]


def window(light_blc: Tensor) -> Tensor:
    """Lights with attenuated high bands, so that sharp lobes of small bright sources do not ring.

    It is the Hann window that ends at band 12, ``(1 + cos(pi l / 12)) / 2``. Among common windows it comes closest to
    path tracing of glossy spheres under photographed lights, and it leaves lobes of a low sun hardly negative.
    """
    check_light(light_blc)
    weight_l = 0.5 + 0.5 * torch.cos(math.pi / 12 * torch.arange(math.isqrt(light_blc.shape[1]), dtype=torch.float64))
    return light_blc * per_coefficient(weight_l.clamp_min(0)).to(light_blc)[:, None]


def from_environment(image_hw3: Tensor, bands: int = BANDS) -> Tensor:
    """Coefficients (bands ** 2, 3) of an environment map (H, W, 3) of linear radiance."""
    if image_hw3.ndim != 3 or image_hw3.shape[-1] != 3:
        raise ValueError(f"from_environment: got {tuple(image_hw3.shape)}; expected (H, W, 3)")
    height, width, _ = image_hw3.shape
    light_l3 = image_hw3.new_zeros(bands * bands, 3, dtype=torch.float64)
    solid_angle_h = torch.from_numpy(row_solid_angles(height, width)).to(image_hw3.device)
    for row, direction_w3 in enumerate(environment_directions(height, width, image_hw3.device)):
        basis_lw = torch.stack(basis(direction_w3, bands))
        light_l3 += solid_angle_h[row] * (basis_lw @ image_hw3[row].double())
    return light_l3.to(image_hw3.dtype)


def to_environment(light_l3: Tensor, height: int) -> Tensor:
    """Environment map (height, 2 height, 3) of coefficients (L, 3): linear radiance, which may be negative."""
    directions_hw3 = environment_directions(height, 2 * height, light_l3.device).to(light_l3.dtype)
    return series(light_l3[None], directions_hw3.reshape(1, -1, 3)).view(height, 2 * height, -1)


def environment_directions(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Unit directions (H, W, 3), float64, of the pixel centres of an environment map."""
    theta = math.pi * (torch.arange(height, dtype=torch.float64, device=device)[:, None] + 0.5) / height
    phi = 2 * math.pi * (torch.arange(width, dtype=torch.float64, device=device) + 0.5) / width
    return torch.stack([theta.sin() * phi.sin(), theta.cos() + 0 * phi, -theta.sin() * phi.cos()], -1)


def row_solid_angles(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Solid angle (H) of one pixel in each row of an environment map, steradian.

    The weights follow Fejer's first rule: sums over pixels integrate series of up to ``height / 2`` bands exactly.
    """
    theta = np.pi * (np.arange(height) + 0.5) / height
    k = np.arange(1, height // 2 + 1)[:, None]
    weights = 2 / height * (1 - 2 * (np.cos(2 * k * theta) / (4 * k**2 - 1)).sum(0))
    return np.asarray(weights * 2 * np.pi / width)


def per_coefficient(values_bands: Tensor) -> Tensor:
    """Repeat each band's value for all coefficients of the band."""
    counts = 2 * torch.arange(len(values_bands), device=values_bands.device) + 1
    return values_bands.repeat_interleave(counts)


@lru_cache
def _quadrature(bands: int) -> tuple[Tensor, Tensor]:
    """Nodes (N, 3) and weights (N) on the sphere that integrate products of two series of ``bands`` bands exactly."""
    cosine, weight = np.polynomial.legendre.leggauss(bands)
    phi = 2 * np.pi * np.arange(2 * bands - 1) / (2 * bands - 1)
    sine = np.sqrt(1 - cosine**2)[:, None]
    nodes = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine[:, None] + 0 * phi], -1)
    weights = weight[:, None] * np.full(len(phi), 2 * np.pi / len(phi))
    return torch.from_numpy(nodes.reshape(-1, 3)), torch.from_numpy(weights.reshape(-1))
