"""Estimate the light of a photograph, given the avatar's reflectance: a small robust least-squares problem."""

import torch
from torch import Tensor

from mosar.models.directions import on_sphere
from mosar.models.shading import Material, irradiance, shade

LOW_BANDS = 25  # coefficients of bands 0 to 4: all that a rough surface reflects but for a thousandth
_DEVIATION = (0.3, *3 * (0.25,), *5 * (0.12,), *7 * (0.05,), *9 * (0.05,))  # of the prior, in units of its band 0
_NOISE = 0.22  # deviation of a texel's radiance from the model, as a share of the median; most of it is model error
_INDEPENDENT = 200.0  # effective number of independent texels: errors are correlated over large patches
_ROUNDS = 8
_FLOOR = 0.35  # smallest irradiance on any side, as a share of the estimate's: light is never negative
_DIRECTIONS = 128


def solve_light(
    material: Material, normals_1n3: Tensor, views_1n3: Tensor, observed_1n3: Tensor, prior_1lc: Tensor
) -> Tensor:
    """The most likely light (1, 81, 3), linear, given observed colours of points and an estimate ``prior_1lc`` of it.

    The estimate is scaled in each channel. Beyond that only bands 0 to 4 change, because the picture hardly depends on
    the others. The higher a band, the nearer its prior keeps it to the estimate. A photograph shows less than half of
    the normals; the prior determines the rest. Points that fit badly (hair, glasses, cast shadows) count less:
    iterative re-weighting with Geman-McClure weights. A penalty keeps every side of the head above a share of the
    estimate's irradiance; otherwise negative light from behind would explain dark cheeks.
    """
    explained_1n3 = shade(material, normals_1n3, views_1n3, prior_1lc)
    # Only the product of albedo and light has a scale per channel: the light absorbs the albedo's error.
    gain_3 = (observed_1n3 / explained_1n3.clamp_min(1e-3))[0].median(dim=0).values.clamp(0.05, 20.0)
    prior_1lc = gain_3 * prior_1lc
    residual_n3 = (observed_1n3 - gain_3 * explained_1n3)[0]
    noise = _NOISE * observed_1n3.mean(dim=2).median().clamp_min(0.02)
    precision_k = 1.0 / light_deviation(prior_1lc).square()
    columns_cnk = _columns(material, normals_1n3, views_1n3)
    sides_1d3 = torch.from_numpy(on_sphere(_DIRECTIONS)).to(prior_1lc)[None]
    side_basis_dk = irradiance(_units(sides_1d3), sides_1d3.expand(LOW_BANDS, -1, -1))[..., 0].T
    lit_cd = irradiance(prior_1lc, sides_1d3)[0].T.clamp_min(0.0)
    change_ck = torch.zeros_like(columns_cnk[:, 0])
    for _ in range(_ROUNDS):
        error_n3 = residual_n3 - (columns_cnk @ change_ck[:, :, None])[:, :, 0].T
        weight_n = 1.0 / (1.0 + error_n3.square().mean(dim=1) / (2.0 * noise) ** 2).square()
        weight_n = weight_n * (_INDEPENDENT / (noise**2 * len(weight_n)))
        weighted_cnk = columns_cnk * weight_n[:, None]
        gram_ckk = weighted_cnk.mT @ columns_cnk + torch.diag(precision_k)
        wanted_ck1 = weighted_cnk.mT @ residual_n3.T[:, :, None]
        dark_cd = lit_cd + change_ck @ side_basis_dk.T < _FLOOR * lit_cd
        held_cdk = dark_cd[:, :, None] * side_basis_dk / noise**2
        gram_ckk = gram_ckk + held_cdk.mT @ side_basis_dk
        wanted_ck1 = wanted_ck1 + held_cdk.mT @ ((_FLOOR - 1.0) * lit_cd)[:, :, None]
        change_ck = torch.linalg.solve(gram_ckk, wanted_ck1)[:, :, 0]
    found = prior_1lc.clone()
    found[0, :LOW_BANDS] += change_ck.T
    return found


def light_deviation(prior_1lc: Tensor) -> Tensor:
    """Deviation (25) of the low coefficients of a light from an estimate of it."""
    return prior_1lc[0, 0].abs().mean().clamp_min(0.1) * prior_1lc.new_tensor(_DEVIATION)


def _columns(material: Material, normals_1n3: Tensor, views_1n3: Tensor) -> Tensor:
    """Radiance (3, n, 25) of points under each of the lowest coefficients alone; shading is linear in the light."""
    parts = (material.diffuse, material.specular, material.ao, material.translucency)
    material = Material(*(x.expand(LOW_BANDS, -1, -1) for x in parts))
    normals, views = (x.expand(LOW_BANDS, -1, -1) for x in (normals_1n3, views_1n3))
    return shade(material, normals, views, _units(normals_1n3)).permute(2, 1, 0)


def _units(like: Tensor) -> Tensor:
    """Lights (25, 81, 3), each with a single coefficient set to one."""
    units = like.new_zeros(LOW_BANDS, 81, 3)
    units[torch.arange(LOW_BANDS), torch.arange(LOW_BANDS)] = 1.0
    return units
