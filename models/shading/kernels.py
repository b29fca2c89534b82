"""Spherical harmonic series in compiled kernels: the sum over bands at each point, with one blur factor per band.

``out_c = sum_l blur_lc sum_m light_lm,c Y_lm(n)`` with ``blur_lc = exp(-l (l + 1) tau_c T)``. No basis is stored: the
recurrences run on blocks of points that fit the first-level cache.
Shapes: n points, k coefficients, c channels, i points of a block.
"""

import math
from functools import partial

import numpy as np

from mosar.models.numba_parallel import compiled

BLOCK = 64

kernel = partial(compiled, reorder_sums=True)


@kernel
def forward(directions, light, factors, blur, scattering, out):  # type: ignore[no-untyped-def]
    """Write ``out`` (N, C) for ``directions`` (N, 3), ``light`` (K, C), ``factors`` (L, L, 2) and ``blur`` (N or 0)."""
    bands, channels = len(factors), light.shape[1]
    block = _block(directions, bands)
    sums = np.zeros((bands, channels, BLOCK), out.dtype)
    for first in range(0, len(directions), BLOCK):
        count = min(BLOCK, len(directions) - first)
        _load(directions, first, count, block)
        _band_sums(light, factors, block, sums)
        for c in range(channels):
            for i in range(count):
                total = sums[0, c, i]
                if len(blur):
                    step = math.exp(-2.0 * scattering[c] * blur[first + i])
                    power, weight = 1.0, 1.0
                    for degree in range(1, bands):
                        power *= step
                        weight *= power  # step ** (l (l + 1) / 2)
                        total += weight * sums[degree, c, i]
                else:
                    for degree in range(1, bands):
                        total += sums[degree, c, i]
                out[first + i, c] = total


@kernel
def backward(directions, light, factors, blur, scattering, gradient, for_directions, for_light, for_blur):  # type: ignore[no-untyped-def]
    """Gradients (N, 3), (K, C), (N) from that of ``out`` (N, C); empty ones are skipped, ``for_light`` accumulates."""
    bands, channels = len(factors), light.shape[1]
    block = _block(directions, bands)
    sums = np.zeros((bands, channels, BLOCK), directions.dtype)
    for first in range(0, len(directions), BLOCK):
        count = min(BLOCK, len(directions) - first)
        _load(directions, first, count, block)
        if len(for_blur):
            _band_sums(light, factors, block, sums)
            for i in range(count):
                for_blur[first + i] = 0.0
        # From here on ``sums`` holds the gradients of the band sums.
        for c in range(channels):
            for i in range(count):
                step = math.exp(-2.0 * scattering[c] * blur[first + i]) if len(blur) else 1.0
                power, weight = 1.0, 1.0
                slope = 0.0
                for degree in range(bands):
                    if degree:
                        power *= step
                        weight *= power
                    value = gradient[first + i, c] * weight
                    slope -= degree * (degree + 1) * value * sums[degree, c, i]
                    sums[degree, c, i] = value
                if len(for_blur):
                    for_blur[first + i] += scattering[c] * slope
            for degree in range(bands):
                for i in range(count, BLOCK):
                    sums[degree, c, i] = 0.0
        _pull(light, factors, block, sums, len(for_directions) > 0, for_light)
        if len(for_directions):
            for i in range(count):
                for axis in range(3):
                    for_directions[first + i, axis] = block[3 + axis, i]


_X, _Y, _Z, _GX, _GY, _GZ = range(6)
_COSINE, _SINE, _COSINE_BEFORE, _SINE_BEFORE = 6, 7, 8, 9
_Q, _Q_1, _Q_2, _S, _S_1, _S_2 = 10, 11, 12, 13, 14, 15
_PLUS, _MINUS, _ALONG_PLUS, _ALONG_MINUS, _SPARE = 16, 17, 18, 19, 20


@kernel
def _block(directions, bands):  # type: ignore[no-untyped-def]
    return np.zeros((21, BLOCK), directions.dtype)


@kernel
def _load(directions, first, count, block):  # type: ignore[no-untyped-def]
    for i in range(count):
        for axis in range(3):
            block[axis, i] = directions[first + i, axis]
    for i in range(count, BLOCK):
        for axis in range(3):
            block[axis, i] = 0.0
    for i in range(BLOCK):
        block[_GX, i] = block[_GY, i] = block[_GZ, i] = 0.0


@kernel
def _start(m, block):  # type: ignore[no-untyped-def]
    """Compute (x + i y) ** m for the next m and reset the recurrences."""
    for i in range(BLOCK):
        if m == 0:
            block[_COSINE, i], block[_SINE, i] = 1.0, 0.0
            block[_COSINE_BEFORE, i] = block[_SINE_BEFORE, i] = 0.0
        else:
            cosine, sine = block[_COSINE, i], block[_SINE, i]
            block[_COSINE_BEFORE, i], block[_SINE_BEFORE, i] = cosine, sine
            block[_COSINE, i] = block[_X, i] * cosine - block[_Y, i] * sine
            block[_SINE, i] = block[_X, i] * sine + block[_Y, i] * cosine
        for row in range(_Q, _SPARE + 1):
            block[row, i] = 0.0


@kernel
def _next(degree, m, factors, block):  # type: ignore[no-untyped-def]
    """Next q_lm(z) and its derivative: it starts at factors[m, m, 0], then is a z q_{l-1} - b q_{l-2}."""
    a, b = factors[degree, m, 0], factors[degree, m, 1]
    for i in range(BLOCK):
        if degree == m:
            block[_Q, i] = a
        else:
            q, slope = block[_Q, i], block[_S, i]
            value = a * block[_Z, i] * q - b * block[_Q_1, i]
            change = a * (q + block[_Z, i] * slope) - b * block[_S_1, i]
            block[_Q_1, i], block[_S_1, i] = q, slope
            block[_Q, i], block[_S, i] = value, change


@kernel
def _band_sums(light, factors, block, sums):  # type: ignore[no-untyped-def]
    bands, channels = len(factors), light.shape[1]
    sums[:] = 0.0
    for m in range(bands):
        _start(m, block)
        for degree in range(m, bands):
            _next(degree, m, factors, block)
            middle = degree * degree + degree
            for c in range(channels):
                plus = light[middle + m, c]
                minus = light[middle - m, c] if m else light[middle, c] * 0
                for i in range(BLOCK):
                    sums[degree, c, i] += block[_Q, i] * (plus * block[_COSINE, i] + minus * block[_SINE, i])


@kernel
def _pull(light, factors, block, sums, for_directions, for_light):  # type: ignore[no-untyped-def]
    """Propagate gradients of the band sums to the light and to the directions of the block."""
    bands, channels = len(factors), light.shape[1]
    for m in range(bands):
        _start(m, block)
        for degree in range(m, bands):
            _next(degree, m, factors, block)
            middle = degree * degree + degree
            if len(for_light):
                for c in range(channels):
                    plus = minus = light[0, 0] * 0
                    for i in range(BLOCK):
                        value = sums[degree, c, i] * block[_Q, i]
                        plus += value * block[_COSINE, i]
                        minus += value * block[_SINE, i]
                    for_light[middle + m, c] += plus
                    if m:
                        for_light[middle - m, c] += minus
            if for_directions:
                for sign in range(2 if m else 1):
                    block[_SPARE] = 0.0
                    for c in range(channels):
                        coefficient = light[middle - m, c] if sign else light[middle + m, c]
                        for i in range(BLOCK):
                            block[_SPARE, i] += coefficient * sums[degree, c, i]
                    for i in range(BLOCK):
                        block[_PLUS + sign, i] += block[_SPARE, i] * block[_Q, i]
                        block[_ALONG_PLUS + sign, i] += block[_SPARE, i] * block[_S, i]
        if for_directions:
            for i in range(BLOCK):
                plus, minus = m * block[_PLUS, i], m * block[_MINUS, i]
                cosine, sine = block[_COSINE_BEFORE, i], block[_SINE_BEFORE, i]
                block[_GX, i] += cosine * plus + sine * minus
                block[_GY, i] += cosine * minus - sine * plus
                block[_GZ, i] += block[_COSINE, i] * block[_ALONG_PLUS, i] + block[_SINE, i] * block[_ALONG_MINUS, i]
