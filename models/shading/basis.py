"""Real spherical harmonics as polynomials of unit directions, by recurrences in torch; ``sh`` states the convention.

``Y_lm = q_l|m|(z) Re or Im (x + i y)^|m|``. Shapes: n points, k coefficients.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache
def recurrence(bands: int) -> list[tuple[int, int, float, float]]:
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
    """``q_lm(z) = sqrt2^(m > 0) K_lm P_l^m(z) / sin^m`` for all l and m >= 0; q_mm are constants."""
    q: dict[tuple[int, int], Tensor] = {}
    sectoral = math.sqrt(1 / (4 * math.pi))
    for m in range(bands):
        if m:
            sectoral *= math.sqrt((2 * m + 1) / (2 * m))
        q[m, m] = torch.full_like(z, sectoral * (math.sqrt(2) if m else 1.0))
    for degree, m, a, b in recurrence(bands):
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


def basis(directions_n3: Tensor, bands: int) -> list[Tensor]:
    """All harmonics of unit directions (..., 3), one tensor (...) each, ordered by ``l * l + l + m``."""
    x, y, z = directions_n3.unbind(-1)
    q = _polynomials(z, bands)
    cosine, sine = _azimuth(x, y, bands)
    return [
        q[degree, abs(m)] * (cosine[m] if m > 0 else sine[-m]) if m else q[degree, 0]
        for degree in range(bands)
        for m in range(-degree, degree + 1)
    ]


def basis_gradient(directions_n3: Tensor, bands: int, weight_kn: Tensor) -> Tensor:
    """``sum_k weight_k dY_k / d(x, y, z)`` (3, N) of the polynomials that ``basis`` evaluates."""
    x, y, z = directions_n3.unbind(-1)
    q = _polynomials(z, bands)
    slope: dict[tuple[int, int], Tensor | float] = {(m, m): 0.0 for m in range(bands)}
    for degree, m, a, b in recurrence(bands):
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
