"""Convert every form in which a user may give a light to spherical-harmonic coefficients."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mosar.datasets import lights
from mosar.datasets.environment_files import SUFFIXES, read_environment
from mosar.errors import ConfigError
from mosar.models.shading import sh

LightLike = str | Path | tuple[float, float] | npt.NDArray[np.floating]
_AMBIENT, _LAMP = 0.15, 2.5
"""A light given by two angles has this radiance from everywhere; its lamp gives a facing surface this irradiance."""


def light_sh(light: LightLike) -> npt.NDArray[np.float32]:
    """Nine SH bands (81, 3) in the head frame, linear RGB; :meth:`mosar.Avatar.relight` lists the forms.

    Environments, built-in or from a file, are scaled to a mean luminance of one.

    Raises:
        ConfigError: the light does not exist, an angle is out of range, or coefficients have another shape or are not
            finite.
        DataError: the file is not an environment map.
    """
    if isinstance(light, str | Path):
        if str(light) in lights.load_lights():
            return lights.light_sh(str(light))
        if Path(light).suffix.lower() not in SUFFIXES or not Path(light).is_file():
            names = ", ".join(lights.load_lights())
            raise ConfigError(f"light: got {str(light)!r}, expected one of {names}, or an .exr or .hdr file")
        return lights.normalized_sh(read_environment(Path(light)))
    if isinstance(light, tuple):
        if len(light) != 2 or not np.isfinite(light).all() or abs(light[1]) > 90.0:
            raise ConfigError(
                f"light: got {light}, expected azimuth and elevation in degrees, the elevation from -90 to 90"
            )
        azimuth, elevation = np.radians(light)
        direction = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        lamp = sh.directional(torch.tensor([direction], dtype=torch.float64), torch.full((1, 3), _LAMP).double())[0]
        lamp[0] += _AMBIENT / 0.28209479177387814
        return lamp.float().numpy()
    coefficients = np.asarray(light, np.float32)
    if coefficients.shape != (81, 3) or not np.isfinite(coefficients).all():
        raise ConfigError(f"light: got an array of shape {coefficients.shape}, expected 81 x 3 finite SH coefficients")
    return coefficients
