"""Maps on the chart at one size, and measures of them. Shapes: s texels a side, n chosen texels. Linear RGB."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from mosar.models.colour import luminance, to_srgb
from mosar.models.head import Head
from mosar.models.reconstruct.estimate import Maps
from mosar.models.uv import texels_of
from mosar.models.vectors import unit

SIZE = 256
"""Texels a side at which every map is measured."""

_LOW = SIZE // 10  # width of the box whose threefold blur leaves low frequencies: about 2 cm on the face
_DARK = 0.004  # linear; below it logarithms measure noise


@lru_cache(maxsize=4)
def facial(head: Head) -> Tensor:
    """Texels (s, s) of the face's exposed skin, bool: from hairline to chin, no lids, nostrils or mouth inside."""
    return texels_of(head, head.region("face") & ~head.region("interior"), SIZE)


def at_size(map_1chw: Tensor, size: int = SIZE) -> Tensor:
    """The map at ``size`` texels a side: averaged over areas if it shrinks, else bilinear."""
    if map_1chw.shape[-1] == size:
        return map_1chw
    if map_1chw.shape[-1] % size == 0:
        return avg_pool2d(map_1chw, map_1chw.shape[-1] // size)
    return interpolate(map_1chw, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def maps_at_size(maps: Maps, size: int = SIZE) -> Maps:
    """All maps at one size; normals stay unit vectors."""
    found = {name: at_size(value, size) for name, value in vars(maps).items()}
    return Maps(**(found | {"normal": unit(found["normal"])}))


def log_luminance(linear_1chw: Tensor) -> Tensor:
    return luminance(linear_1chw).clamp_min(_DARK).log()


def low_frequencies(values_11hw: Tensor, known_hw: Tensor) -> Tensor:
    """A blur over about 2 cm that takes only known texels; 0 at the others."""
    width = max(3, _LOW * values_11hw.shape[-1] // SIZE) | 1
    known = known_hw.to(values_11hw)[None, None]
    total, weight = values_11hw * known, known
    for _ in range(3):
        total, weight = (avg_pool2d(x, width, stride=1, padding=width // 2) for x in (total, weight))
    return total / weight.clamp_min(1e-6) * known


def lab(linear_n3: Tensor) -> NDArray[np.float64]:
    """CIELAB (n, 3), D65, of linear sRGB colours."""
    from skimage.color import rgb2lab

    encoded = to_srgb(linear_n3.clamp(0.0, 1.0)).double().cpu().numpy()
    return np.asarray(rgb2lab(encoded[None])[0])


def delta_e(a_n3: Tensor, b_n3: Tensor) -> NDArray[np.float64]:
    """CIEDE2000 (n) between linear colours."""
    from skimage.color import deltaE_ciede2000

    return np.asarray(deltaE_ciede2000(lab(a_n3), lab(b_n3)))


def psnr_db(found: Tensor, true: Tensor) -> float:
    """Peak signal-to-noise ratio of values in [0, 1], at most 60 dB."""
    error = float((found.double() - true.double()).square().mean())
    return 60.0 if error < 1e-6 else -10.0 * math.log10(error)


def angle_degrees(a_n3: Tensor, b_n3: Tensor) -> float:
    """Mean angle between unit vectors."""
    return float((a_n3.double() * b_n3.double()).sum(dim=-1).clamp(-1.0, 1.0).arccos().mean().rad2deg())


def correlation(a_n: Tensor, b_n: Tensor) -> float:
    """Pearson's; 0 if one side is constant."""
    a, b = a_n.double() - a_n.double().mean(), b_n.double() - b_n.double().mean()
    length = float(a.norm() * b.norm())
    return float(a @ b) / length if length > 1e-9 * len(a) else 0.0
