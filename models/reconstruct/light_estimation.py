"""Estimate the light of a photograph, given the avatar's reflectance: a small robust least-squares problem."""

import math

import torch
from torch import Tensor

from mosar.models.shading import Material, irradiance, shade

LOW_BANDS = 9  # coefficients of bands 0 to 2, which carry 99 % of the irradiance
_DEVIATION = (0.2, *3 * (0.15,), *5 * (0.06,))  # of the prior, in units of the estimate's band 0
_NOISE = 0.08  # deviation of a texel's radiance from the model; most of it is model error
_INDEPENDENT = 200.0  # effective number of independent texels: errors are correlated over large patches
_ROUNDS = 8
_FLOOR = 0.35  # smallest irradiance on any side, as a share of the estimate's: light is never negative
_DIRECTIONS = 128
_LUMINANCE = (0.2126, 0.7152, 0.0722)


def brightness(
    material: Material, normals_1n3: Tensor, views_1n3: Tensor, observed_1n3: Tensor, light_1lc: Tensor
) -> float:
    """Factor by which the albedo must be brighter for the light to explain the observed colours: a median over points.

    One photograph determines only the product of albedo and light. Training lights are exposed as a camera meters them,
    so the estimated light has a scale, and the remaining factor belongs to the albedo. The factor is bounded, because
    larger errors of either estimate are implausible.
    """
    explained_1n3 = shade(material, normals_1n3, views_1n3, light_1lc)
    luminance = observed_1n3.new_tensor(_LUMINANCE)
    ratio_n = (observed_1n3 @ luminance / (explained_1n3 @ luminance).clamp_min(0.02))[0]
    brightest = 0.9 / material.diffuse[0].quantile(0.9, dim=0).max().clamp_min(0.01)
    return float(ratio_n.median().clamp(0.5, 2.5).minimum(brightest))


def solve_light(
    material: Material, normals_1n3: Tensor, views_1n3: Tensor, observed_1n3: Tensor, prior_1lc: Tensor
) -> Tensor:
    """The most likely light (1, 81, 3), linear, given observed colours of points and an estimate ``prior_1lc`` of it.

    The estimate is scaled in each channel; beyond that only bands 0 to 2 change, because the diffuse picture hardly
    depends on the others. A photograph shows less than half of the normals; the prior determines the rest. Points that
    fit badly (hair, glasses, cast shadows) count less: iterative re-weighting with Geman-McClure weights. A penalty
    keeps every side of the head above a share of the estimate's irradiance; otherwise negative light from behind would
    explain dark cheeks.
    """
    explained_1n3 = shade(material, normals_1n3, views_1n3, prior_1lc)
    # Only the product of albedo and light has a scale per channel: the light absorbs the albedo's error.
    gain_3 = (observed_1n3 / explained_1n3.clamp_min(0.02))[0].median(dim=0).values.clamp(0.2, 5.0)
    prior_1lc = gain_3 * prior_1lc
    residual_n3 = (observed_1n3 - gain_3 * explained_1n3)[0]
    scale = prior_1lc[0, 0].abs().mean().clamp_min(0.1)
    precision_9 = 1.0 / (scale * residual_n3.new_tensor(_DEVIATION)).square()
    columns_cn9 = _columns(material, normals_1n3, views_1n3)
    sides_1d3 = _spiral(_DIRECTIONS).to(prior_1lc)[None]
    side_basis_d9 = irradiance(_units(sides_1d3), sides_1d3.expand(LOW_BANDS, -1, -1))[..., 0].T
    lit_cd = irradiance(prior_1lc, sides_1d3)[0].T.clamp_min(0.0)
    change_c9 = torch.zeros_like(columns_cn9[:, 0])
    for _ in range(_ROUNDS):
        error_n3 = residual_n3 - (columns_cn9 @ change_c9[:, :, None])[:, :, 0].T
        weight_n = 1.0 / (1.0 + error_n3.square().mean(dim=1) / (2.0 * _NOISE) ** 2).square()
        weight_n = weight_n * (_INDEPENDENT / (_NOISE**2 * len(weight_n)))
        weighted_cn9 = columns_cn9 * weight_n[:, None]
        gram_c99 = weighted_cn9.mT @ columns_cn9 + torch.diag(precision_9)
        wanted_c91 = weighted_cn9.mT @ residual_n3.T[:, :, None]
        dark_cd = lit_cd + change_c9 @ side_basis_d9.T < _FLOOR * lit_cd
        held_cd9 = dark_cd[:, :, None] * side_basis_d9 / (_NOISE * scale) ** 2
        gram_c99 = gram_c99 + held_cd9.mT @ side_basis_d9
        wanted_c91 = wanted_c91 + held_cd9.mT @ ((_FLOOR - 1.0) * lit_cd)[:, :, None]
        change_c9 = torch.linalg.solve(gram_c99, wanted_c91)[:, :, 0]
    found = prior_1lc.clone()
    found[0, :LOW_BANDS] += change_c9.T
    return found


def _spiral(count: int) -> Tensor:
    """Unit directions (count, 3), evenly distributed over the sphere."""
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z, angle = 1.0 - 2.0 * index / count, index * (math.pi * (3.0 - math.sqrt(5.0)))
    radius = (1.0 - z * z).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=-1)


def _columns(material: Material, normals_1n3: Tensor, views_1n3: Tensor) -> Tensor:
    """Radiance (3, n, 9) of points under each of the first nine coefficients alone; shading is linear in the light."""
    parts = (material.diffuse, material.specular, material.ao, material.translucency)
    material = Material(*(x.expand(LOW_BANDS, -1, -1) for x in parts))
    normals, views = (x.expand(LOW_BANDS, -1, -1) for x in (normals_1n3, views_1n3))
    return shade(material, normals, views, _units(normals_1n3)).permute(2, 1, 0)


def _units(like: Tensor) -> Tensor:
    """Lights (9, 81, 3), each with a single coefficient set to one."""
    units = like.new_zeros(LOW_BANDS, 81, 3)
    units[torch.arange(LOW_BANDS), torch.arange(LOW_BANDS)] = 1.0
    return units
