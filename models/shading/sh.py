"""Real spherical harmonics: evaluation, series, rotation, environment maps and directional lights.

Index ``l * l + l + m``; theta from +z; Cartesian (x, y, z) of the head frame; no Condon-Shortley sign:
``Y_lm = K_l|m| P_l^|m|(cos theta) {sqrt2 cos(m phi), 1, sqrt2 sin(|m| phi)}`` for m > 0, m = 0, m < 0.
Environment map pixel (u, v), v from the top: phi = 2 pi u, theta = pi v, direction (sin th sin ph, cos th,
-sin th cos ph): the centre of the image is +z and u = 1/4 is +x. Colours are linear radiance.
Shapes: b batch, n points, l coefficients (bands ** 2), k the same inside, c channels, h w rows and columns.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

BANDS = 9


def evaluate(directions_n3: Tensor, bands: int = BANDS) -> Tensor:
    """All harmonics of unit directions (..., 3): (..., bands ** 2)."""
    _check_last(directions_n3, 3, "evaluate: directions")
    return torch.stack(_basis(directions_n3, bands), -1)


def series(light_blc: Tensor, directions: Tensor, image_n: Tensor | None = None) -> Tensor:
    """Radiance of lights in unit directions: ``sum_lm L_lm,c Y_lm``.

    Directions (B, N, 3) give (B, N, C). Packed directions (N, 3) give (N, C): ``image_n`` is each one's light,
    ascending; without it there must be one light. The basis is never held for more points than fit a cache, and the
    gradients, for light and directions, are analytic; there are no second derivatives.
    """
    _check_light(light_blc)
    _check_last(directions, 3, "series: directions")
    batch = len(light_blc)
    if directions.ndim == 3 and image_n is None and directions.shape[0] == batch:
        counts = [directions.shape[1]] * batch
    elif directions.ndim == 2 and image_n is None and batch == 1:
        counts = [len(directions)]
    elif directions.ndim == 2 and image_n is not None and image_n.shape == directions.shape[:1]:
        if len(image_n) and (int(image_n[-1]) >= batch or bool((image_n.diff() < 0).any())):
            raise ValueError(f"series: got image_n that does not ascend from 0 to at most {batch - 1}")
        counts = torch.bincount(image_n, minlength=batch).tolist()
    else:
        raise ValueError(
            f"series: got light {tuple(light_blc.shape)}, directions {tuple(directions.shape)} and image_n "
            f"{None if image_n is None else tuple(image_n.shape)}; expected (B, N, 3), or (N, 3) with image_n (N)"
        )
    flat: Tensor = _Series.apply(directions.reshape(-1, 3), light_blc, counts)
    return flat.view(*directions.shape[:-1], light_blc.shape[-1])


def rotate(light_blc: Tensor, rotation_b33: Tensor) -> Tensor:
    """The lights after ``rotation_b33`` was applied to the world around the head: ``L'(R w) = L(w)``."""
    _check_light(light_blc)
    if rotation_b33.ndim != 3 or rotation_b33.shape[1:] != (3, 3):
        raise ValueError(f"rotate: got rotation {tuple(rotation_b33.shape)}; expected (B, 3, 3)")
    bands = math.isqrt(light_blc.shape[1])
    nodes, weights = (x.to(light_blc) for x in _quadrature(bands))
    turned_bnl = evaluate(nodes @ rotation_b33, bands)  # nodes seen from the unturned world: R^T w
    return evaluate(nodes, bands).mT @ (weights[:, None] * (turned_bnl @ light_blc))


def directional(direction_b3: Tensor, colour_b3: Tensor, bands: int = BANDS) -> Tensor:
    """Distant point lights (B, bands ** 2, 3).

    ``direction_b3`` points to the light, unit; ``colour_b3`` is the irradiance of a surface that faces it.
    """
    return evaluate(direction_b3, bands)[..., None] * colour_b3[..., None, :]


def window(light_blc: Tensor) -> Tensor:
    """Lights with their high bands lowered, so that sharp lobes of small bright sources do not ring.

    The Hann window that ends at band 12, ``(1 + cos(pi l / 12)) / 2``: of common windows the one that comes nearest to
    path tracing of glossy spheres under photographed lights, and that leaves lobes of a low sun hardly negative.
    """
    _check_light(light_blc)
    weight_l = 0.5 + 0.5 * torch.cos(math.pi / 12 * torch.arange(math.isqrt(light_blc.shape[1]), dtype=torch.float64))
    return light_blc * per_coefficient(weight_l.clamp_min(0)).to(light_blc)[:, None]


def from_environment(image_hw3: Tensor, bands: int = BANDS) -> Tensor:
    """The coefficients (bands ** 2, 3) of an environment map (H, W, 3) of linear radiance."""
    if image_hw3.ndim != 3 or image_hw3.shape[-1] != 3:
        raise ValueError(f"from_environment: got {tuple(image_hw3.shape)}; expected (H, W, 3)")
    height, width, _ = image_hw3.shape
    light_l3 = image_hw3.new_zeros(bands * bands, 3, dtype=torch.float64)
    solid_angle_h = torch.from_numpy(row_solid_angles(height, width)).to(image_hw3.device)
    for row, direction_w3 in enumerate(environment_directions(height, width, image_hw3.device)):
        basis_lw = torch.stack(_basis(direction_w3, bands))
        light_l3 += solid_angle_h[row] * (basis_lw @ image_hw3[row].double())
    return light_l3.to(image_hw3.dtype)


def to_environment(light_l3: Tensor, height: int) -> Tensor:
    """The environment map (height, 2 height, 3) of coefficients (L, 3), linear radiance; lobes may be negative."""
    directions_hw3 = environment_directions(height, 2 * height, light_l3.device).to(light_l3.dtype)
    return series(light_l3[None], directions_hw3.reshape(1, -1, 3)).view(height, 2 * height, -1)


def environment_directions(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Unit directions (H, W, 3), float64, of the pixel centres of an environment map."""
    theta = math.pi * (torch.arange(height, dtype=torch.float64, device=device)[:, None] + 0.5) / height
    phi = 2 * math.pi * (torch.arange(width, dtype=torch.float64, device=device) + 0.5) / width
    return torch.stack([theta.sin() * phi.sin(), theta.cos() + 0 * phi, -theta.sin() * phi.cos()], -1)


def row_solid_angles(height: int, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The solid angle (H) of one pixel of each row of an environment map, steradian.

    The weights of Fejer's first rule: sums over pixels are exact integrals of series of up to ``height / 2`` bands.
    """
    theta = np.pi * (np.arange(height) + 0.5) / height
    k = np.arange(1, height // 2 + 1)[:, None]
    weights = 2 / height * (1 - 2 * (np.cos(2 * k * theta) / (4 * k**2 - 1)).sum(0))
    return np.asarray(weights * 2 * np.pi / width)


def per_coefficient(values_bands: Tensor) -> Tensor:
    """One value a band, repeated for each of the band's coefficients."""
    counts = 2 * torch.arange(len(values_bands), device=values_bands.device) + 1
    return values_bands.repeat_interleave(counts)


def _check_light(light_blc: Tensor) -> None:
    if light_blc.ndim != 3 or math.isqrt(light_blc.shape[1]) ** 2 != light_blc.shape[1] or light_blc.shape[1] == 0:
        raise ValueError(f"light: got {tuple(light_blc.shape)}; expected (B, bands squared, channels)")


def _check_last(value: Tensor, size: int, name: str) -> None:
    if value.ndim < 1 or value.shape[-1] != size:
        raise ValueError(f"{name}: got {tuple(value.shape)}; expected (..., {size})")


@lru_cache
def _recurrence(bands: int) -> list[tuple[int, int, float, float]]:
    """(l, m, a, b) of the normalised recurrence ``q_lm = a (z q_{l-1,m} - b q_{l-2,m})``, l > m."""
    return [
        (
            degree,
            m,
            math.sqrt((4 * degree**2 - 1) / (degree**2 - m**2)),
            math.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1)),
        )
        for m in range(bands)
        for degree in range(m + 1, bands)
    ]


def _polynomials(z: Tensor, bands: int) -> dict[tuple[int, int], Tensor]:
    """``q_lm(z) = sqrt2^(m > 0) K_lm P_l^m(z) / sin^m``, without the sectoral ones (constants) times z-free factors."""
    q: dict[tuple[int, int], Tensor] = {}
    sectoral = math.sqrt(1 / (4 * math.pi))
    for m in range(bands):
        if m:
            sectoral *= math.sqrt((2 * m + 1) / (2 * m))
        q[m, m] = torch.full_like(z, sectoral * (math.sqrt(2) if m else 1.0))
    for degree, m, a, b in _recurrence(bands):
        q[degree, m] = a * z * q[degree - 1, m]
        if degree - 2 >= m:
            q[degree, m] = q[degree, m] - a * b * q[degree - 2, m]
    return q


def _azimuth(x: Tensor, y: Tensor, bands: int) -> tuple[list[Tensor], list[Tensor]]:
    """Real and imaginary parts of ``(x + i y) ** m``: sin^m cos(m phi) and sin^m sin(m phi)."""
    cosine, sine = [torch.ones_like(x)], [torch.zeros_like(x)]
    for m in range(1, bands):
        cosine.append(x * cosine[m - 1] - y * sine[m - 1])
        sine.append(x * sine[m - 1] + y * cosine[m - 1])
    return cosine, sine


def _basis(directions_n3: Tensor, bands: int) -> list[Tensor]:
    x, y, z = directions_n3.unbind(-1)
    q = _polynomials(z, bands)
    cosine, sine = _azimuth(x, y, bands)
    return [
        q[degree, abs(m)] * (cosine[m] if m > 0 else sine[-m]) if m else q[degree, 0]
        for degree in range(bands)
        for m in range(-degree, degree + 1)
    ]


def _basis_gradient(directions_n3: Tensor, bands: int, weight_kn: Tensor) -> Tensor:
    """``sum_k weight_k dY_k / d(x, y, z)`` (3, N) of the polynomials that ``_basis`` evaluates."""
    x, y, z = directions_n3.unbind(-1)
    q = _polynomials(z, bands)
    slope: dict[tuple[int, int], Tensor | float] = {(m, m): 0.0 for m in range(bands)}
    for degree, m, a, b in _recurrence(bands):
        slope[degree, m] = a * (q[degree - 1, m] + z * slope[degree - 1, m])
        if degree - 2 >= m:
            slope[degree, m] = slope[degree, m] - a * b * slope[degree - 2, m]
    cosine, sine = _azimuth(x, y, bands)
    gradient_3n = torch.zeros(3, len(x), dtype=x.dtype, device=x.device)
    for m in range(bands):
        plus = minus = along_plus = along_minus = torch.zeros_like(x)
        for degree in range(m, bands):
            middle = degree * degree + degree
            plus = plus + weight_kn[middle + m] * q[degree, m]
            along_plus = along_plus + weight_kn[middle + m] * slope[degree, m]
            if m:
                minus = minus + weight_kn[middle - m] * q[degree, m]
                along_minus = along_minus + weight_kn[middle - m] * slope[degree, m]
        gradient_3n[2] += cosine[m] * along_plus + sine[m] * along_minus
        if m:
            gradient_3n[0] += m * (cosine[m - 1] * plus + sine[m - 1] * minus)
            gradient_3n[1] += m * (cosine[m - 1] * minus - sine[m - 1] * plus)
    return gradient_3n


@lru_cache
def _quadrature(bands: int) -> tuple[Tensor, Tensor]:
    """Nodes (N, 3) and weights (N) on the sphere, exact for products of two series of ``bands`` bands."""
    cosine, weight = np.polynomial.legendre.leggauss(bands)
    phi = 2 * np.pi * np.arange(2 * bands - 1) / (2 * bands - 1)
    sine = np.sqrt(1 - cosine**2)[:, None]
    nodes = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine[:, None] + 0 * phi], -1)
    weights = weight[:, None] * np.full(len(phi), 2 * np.pi / len(phi))
    return torch.from_numpy(nodes.reshape(-1, 3)), torch.from_numpy(weights.reshape(-1))


class _Series(torch.autograd.Function):
    """``sum_k Y_k(directions) light_k`` for ``counts[b]`` directions of light b after another."""

    @staticmethod
    def forward(ctx: Any, directions_n3: Tensor, light_blc: Tensor, counts: list[int]) -> Tensor:
        ctx.save_for_backward(directions_n3, light_blc)
        ctx.counts = counts
        bands = math.isqrt(light_blc.shape[1])
        out_cn = directions_n3.new_empty(light_blc.shape[-1], len(directions_n3))
        for image, first, last in _chunks(directions_n3, counts):
            basis_kn = torch.stack(_basis(directions_n3[first:last], bands))
            torch.mm(light_blc[image].mT, basis_kn, out=out_cn[:, first:last])
        return out_cn.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        directions_n3, light_blc = ctx.saved_tensors
        (gradient_nc,) = gradients
        bands = math.isqrt(light_blc.shape[1])
        for_directions = torch.empty_like(directions_n3) if ctx.needs_input_grad[0] else None
        for_light = torch.zeros_like(light_blc) if ctx.needs_input_grad[1] else None
        for image, first, last in _chunks(directions_n3, ctx.counts):
            chunk_n3, chunk_nc = directions_n3[first:last], gradient_nc[first:last]
            if for_light is not None:
                for_light[image] += torch.stack(_basis(chunk_n3, bands)) @ chunk_nc
            if for_directions is not None:
                weight_kn = light_blc[image] @ chunk_nc.mT
                for_directions[first:last] = _basis_gradient(chunk_n3, bands, weight_kn).mT
        return for_directions, for_light, None


def _chunks(directions_n3: Tensor, counts: list[int]) -> list[tuple[int, int, int]]:
    """(image, first, last): points of one light, as many as keep the basis in a CPU's cache."""
    step = len(directions_n3) if directions_n3.is_cuda else 8192
    chunks, start = [], 0
    for image, count in enumerate(counts):
        chunks += [(image, i, min(i + step, start + count)) for i in range(start, start + count, max(step, 1))]
        start += count
    return chunks
