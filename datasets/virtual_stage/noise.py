"""Noise as a function of position: the same seed puts the same features on a face at any map size.

Positions are points of the template head (mm), so that features sit on the skin and move with it.
"""

import numpy as np
from numpy.typing import NDArray

from mosar.models.numba_parallel import compiled

Points = NDArray[np.floating]
Values = NDArray[np.float32]


def gradient_noise(points_n3: Points, wavelength: float, seed: int, texel: float | Values = 0.0) -> Values:
    """Perlin's gradient noise (n), about [-1, 1], standard deviation about 0.25.

    ``wavelength`` and ``texel``, the side of the map's texels, are in the unit of the points. A value is about the mean
    over the texel, so that noise too fine for the map fades out.
    """
    points = np.ascontiguousarray(points_n3, np.float64) / wavelength
    return np.asarray(_gradient(points, _word(seed)) * _fade(wavelength, texel), np.float32)


def fractal_noise(
    points_n3: Points, wavelength: float, octaves: int, seed: int, texel: float | Values = 0.0, gain: float = 0.5
) -> Values:
    """Octaves of :func:`gradient_noise`, each of half the wavelength and ``gain`` times the strength."""
    total = np.zeros(len(points_n3), np.float32)
    for octave in range(octaves):
        finer = wavelength / 2**octave
        total += np.float32(gain**octave) * gradient_noise(points_n3, finer, seed + 7919 * octave, texel)
    return total


def spots(
    points_n3: Points,
    cell: float,
    radius: tuple[float, float],
    density: float | Values,
    seed: int,
    texel: float | Values = 0.0,
) -> Values:
    """Random round spots (n) in [0, 1], at most one per cell of side ``cell``, each with its own radius and strength.

    ``density``: share of cells with a spot. It may vary by point: a spot then shows where the density exceeds the
    spot's own threshold. Spots smaller than a texel become wider and paler, so that their mean stays.
    """
    points = np.ascontiguousarray(points_n3, np.float64)
    sizes = np.broadcast_to(np.asarray(texel, np.float64), len(points)).copy()
    dense = np.broadcast_to(np.asarray(density, np.float64), len(points)).copy()
    return _spots(points, cell, radius[0], radius[1], dense, sizes, _word(seed))


def cells(points_n3: Points, cell: float, seed: int, texel: float | Values = 0.0) -> Values:
    """Distance (n) to the nearest pore, over ``cell``: 0 at a pore, about 0.8 between; one random pore per cell."""
    points = np.ascontiguousarray(points_n3, np.float64) / cell
    return np.asarray(0.52 + (_cells(points, _word(seed)) - 0.52) * _fade(0.75 * cell, texel), np.float32)


def pits(points_n3: Points, cell: float, seed: int, texel: float | Values = 0.0) -> Values:
    """Round pits (n), one per cell, 1 at their centre and 0 between them; they fade to their mean as texels grow."""
    deep = np.clip(1 - 1.7 * cells(points_n3, cell, seed), 0, 1)
    return np.asarray(0.1845 + (deep - 0.1845) * _fade(0.75 * cell, texel), np.float32)


def creases(phase_n: NDArray[np.floating], wavelength: float | Values, texel: float | Values = 0.0) -> Values:
    """Narrow creases (n), 1 at the crests of the phase's sine and 0 elsewhere; they fade to their mean like pits."""
    sharp = np.clip((np.sin(phase_n) - 0.55) / 0.45, 0, 1) ** 2
    return np.asarray(0.164 + (sharp - 0.164) * _fade(np.asarray(wavelength) / 3, texel), np.float32)


def bumps(points_n3: Points, wavelength: float, seed: int) -> NDArray[np.float32]:
    """A smooth random vector (n, 3) at each point."""
    return np.stack([gradient_noise(points_n3, wavelength, seed + i) for i in range(3)], -1)


def _word(seed: int) -> np.uint32:
    return np.uint32(seed % 2**32)


def _fade(wavelength: float | NDArray[np.floating], texel: float | Values) -> NDArray[np.float64]:
    """Factor on noise that averaging over a texel leaves: 0 where the texel is twice as long as the wave or longer.

    The curve is fitted to noise averaged over the texels of a face.
    """
    ratio = np.asarray(texel, np.float64) / np.maximum(wavelength, 1e-6)
    return np.asarray(np.exp(-0.53 * ratio**1.5) * np.clip(2 - ratio, 0, 1))


@compiled
def _hash(x: int, y: int, z: int, seed: np.uint32) -> np.uint32:
    h = np.uint32(x) * np.uint32(374761393) + np.uint32(y) * np.uint32(668265263)
    h = np.uint32(h + np.uint32(z) * np.uint32(2147483647) + seed * np.uint32(3266489917))
    h = np.uint32((h ^ (h >> np.uint32(15))) * np.uint32(2246822519))
    h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(3266489917))
    return np.uint32(h ^ (h >> np.uint32(16)))


@compiled
def _unit(h: np.uint32) -> float:
    return np.float64(h) / 4294967296.0


@compiled
def _smooth(f: float) -> float:
    return f * f * f * (f * (f * 6 - 15) + 10)


@compiled
def _slope(h: np.uint32, x: float, y: float, z: float) -> float:
    """Dot product with one of Perlin's twelve edge directions (the last four repeat some)."""
    k = h & np.uint32(15)
    u = x if k < 8 else y
    v = y if k < 4 else (x if k in (12, 14) else z)
    return (u if (k & 1) == 0 else -u) + (v if (k & 2) == 0 else -v)


@compiled
def _gradient(points_n3: NDArray[np.float64], seed: np.uint32) -> Values:
    out = np.empty(len(points_n3), np.float32)
    for n in range(len(points_n3)):
        px, py, pz = points_n3[n]
        ix, iy, iz = int(np.floor(px)), int(np.floor(py)), int(np.floor(pz))
        fx, fy, fz = px - ix, py - iy, pz - iz
        ux, uy, uz = _smooth(fx), _smooth(fy), _smooth(fz)
        total = 0.0
        for dx in range(2):
            wx = ux if dx else 1 - ux
            for dy in range(2):
                wy = uy if dy else 1 - uy
                for dz in range(2):
                    wz = uz if dz else 1 - uz
                    h = _hash(ix + dx, iy + dy, iz + dz, seed)
                    total += wx * wy * wz * _slope(h, fx - dx, fy - dy, fz - dz)
        out[n] = total
    return out


@compiled
def _spots(
    points_n3: NDArray[np.float64],
    cell: float,
    smallest: float,
    largest: float,
    density_n: NDArray[np.float64],
    texel_n: NDArray[np.float64],
    seed: np.uint32,
) -> Values:
    out = np.zeros(len(points_n3), np.float32)
    for n in range(len(points_n3)):
        ix = int(np.floor(points_n3[n, 0] / cell))
        iy = int(np.floor(points_n3[n, 1] / cell))
        iz = int(np.floor(points_n3[n, 2] / cell))
        best = 0.0
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                for dz in range(-1, 2):
                    x, y, z = ix + dx, iy + dy, iz + dz
                    if _unit(_hash(x, y, z, seed)) >= density_n[n]:
                        continue
                    a = points_n3[n, 0] / cell - x - _unit(_hash(x, y, z, seed + np.uint32(1)))
                    b = points_n3[n, 1] / cell - y - _unit(_hash(x, y, z, seed + np.uint32(2)))
                    c = points_n3[n, 2] / cell - z - _unit(_hash(x, y, z, seed + np.uint32(3)))
                    distance = cell * np.sqrt(a * a + b * b + c * c)
                    size = _unit(_hash(x, y, z, seed + np.uint32(4)))
                    radius = smallest + (largest - smallest) * size * size
                    wide = max(radius, 0.7 * texel_n[n])
                    strength = (radius / wide) ** 2 * (0.4 + 0.6 * _unit(_hash(x, y, z, seed + np.uint32(5))))
                    best = max(best, strength * np.exp(-((distance / wide) ** 2) * 1.5))
        out[n] = best
    return out


@compiled
def _cells(points_n3: NDArray[np.float64], seed: np.uint32) -> Values:
    out = np.empty(len(points_n3), np.float32)
    for n in range(len(points_n3)):
        ix, iy, iz = int(np.floor(points_n3[n, 0])), int(np.floor(points_n3[n, 1])), int(np.floor(points_n3[n, 2]))
        nearest = 9.0
        for dx in range(-1, 2):
            for dy in range(-1, 2):
                for dz in range(-1, 2):
                    x, y, z = ix + dx, iy + dy, iz + dz
                    a = points_n3[n, 0] - x - _unit(_hash(x, y, z, seed + np.uint32(1)))
                    b = points_n3[n, 1] - y - _unit(_hash(x, y, z, seed + np.uint32(2)))
                    c = points_n3[n, 2] - z - _unit(_hash(x, y, z, seed + np.uint32(3)))
                    nearest = min(nearest, a * a + b * b + c * c)
        out[n] = min(np.sqrt(nearest), 1.0)
    return out
