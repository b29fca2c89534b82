"""Environment lights: the built-in maps, their spherical harmonics, and random lights made from them.

The maps are equirectangular, linear RGB, in the head frame's convention for environment maps (docs/architecture.md).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.models.colour import LUMINANCE
from mosar.models.directions import on_hemisphere
from mosar.models.relight import metered
from mosar.models.shading import sh

ASSET = Path(__file__).parent / "assets" / "lights.npz"
HEIGHT = 128
TRAIN_LIGHTS = ("city", "forest", "interior", "sunrise", "sunset")
HELD_OUT_LIGHTS = ("courtyard", "night", "studio")
"""Never used in training: validation and test captures are rendered under these only."""


@dataclass(frozen=True)
class EnvironmentLight:
    """A light in the head frame.

    Attributes:
        name: environment map that the light is made from.
        sh_l3: 81 x 3 coefficients of the radiance, lamps included.
        rotation_33: maps a direction d of the environment map to ``rotation @ d`` of the head frame.
        gain_3: factor on the map's radiance. Together with the rotation it gives a background that matches the light.
        lamps_k6: direction to each lamp, and irradiance of a surface that faces it.
    """

    name: str
    sh_l3: NDArray[np.float32]
    rotation_33: NDArray[np.float64]
    gain_3: NDArray[np.float64]
    lamps_k6: NDArray[np.float64]


@functools.cache
def load_lights() -> dict[str, NDArray[np.float32]]:
    """The built-in environment maps by name, each 128 x 256 x 3 linear RGB radiance."""
    with np.load(ASSET, allow_pickle=False) as file:
        return {name: file[name].astype(np.float32) for name in sorted(file.files)}


@functools.cache
def light_sh(name: str) -> NDArray[np.float32]:
    """:func:`normalized_sh` of a built-in map."""
    return normalized_sh(load_lights()[name])


def normalized_sh(environment_hw3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Coefficients (81 x 3) of an environment map in its own frame, scaled so that its mean luminance is one."""
    light = sh.from_environment(torch.from_numpy(environment_hw3).double()).numpy()
    mean = light[0] @ LUMINANCE * 0.28209479177387814  # coefficient of band 0 = mean radiance / Y_00
    return (light / mean).astype(np.float32)


def random_light(
    generator: np.random.Generator,
    names: Sequence[str],
    exposure: float = 1.0,
    lamps: int = 3,
    low_9: NDArray[np.float64] | None = None,
) -> EnvironmentLight:
    """A random light: one of ``names``, rotated, tinted, with up to ``lamps`` lamps, white-balanced and exposed.

    As in a camera, metering scales the light: ``exposure`` is the luminance of the mean of irradiance / pi over a ball
    seen from +z; with 1, an 18 % grey ball looks 18 % grey. White balance removes part of that mean's colour cast.
    With ``lamps`` of 2 or more, 35 % of the lights are portrait lighting: key and fill lamp over a dimmed map.
    ``low_9``: coefficients of bands 0 to 2 of a luminance; if given, the lamps are placed over a dimmed map such that
    the light has them, up to a factor.
    """
    name = str(generator.choice(list(names)))
    turn, tilt, roll = generator.uniform(-np.pi, np.pi), generator.normal(0, 0.15), generator.normal(0, 0.1)
    rotation = _rotation(0, tilt) @ _rotation(2, roll) @ _rotation(1, turn)
    tint = np.exp(generator.normal(0, 0.04, 3) + generator.normal(0, 0.05) * np.array([1.0, 0.0, -1.0]))
    arranged = low_9 is not None or (lamps >= 2 and generator.random() < 0.35)
    dimmed = generator.uniform(0.2, 0.8) if arranged else 1.0
    if low_9 is not None:
        tint = tint * np.exp(_PORTRAIT_TINT)
        own = sh.rotate(torch.from_numpy(light_sh(name))[None].double(), torch.from_numpy(rotation)[None])[0, :9]
        placed = _matching(generator, low_9, own.numpy() @ LUMINANCE)
    else:
        placed = _key_and_fill(generator) if arranged else _scattered(generator, lamps)
    light = dimmed * sh.rotate(torch.from_numpy(light_sh(name))[None].double(), torch.from_numpy(rotation)[None])
    for lamp in placed:
        light = light + sh.directional(torch.from_numpy(lamp[None, :3]), torch.from_numpy(lamp[None, 3:]))
    front = np.maximum(metered(light)[0].numpy(), 1e-3)
    tint = tint * (front @ LUMINANCE / front) ** generator.uniform(0.5, 1.0)
    # the lower bound keeps metering from brightening a back-lit face until it no longer looks back-lit
    scale = tint * exposure / max(float(front * tint @ LUMINANCE), 0.15)
    gain = dimmed / (load_lights()[name].reshape(-1, 3) @ LUMINANCE * _solid_angles()).sum()
    lamps_k6 = placed * np.concatenate([np.ones(3), scale])
    return EnvironmentLight(name, (light[0].numpy() * scale).astype(np.float32), rotation, gain * scale, lamps_k6)


def _scattered(generator: np.random.Generator, most: int) -> NDArray[np.float64]:
    """Up to ``most`` lamps (k, 6) anywhere in front of and beside the face: direction, irradiance."""
    placed = []
    for _ in range(generator.integers(0, most + 1)):
        around, height = generator.uniform(-1.9, 1.9), generator.normal(0.35, 0.35)
        placed.append(_lamp(around, height, generator.uniform(0.2, 1.5), generator.normal(0, 0.15)))
    return np.array(placed).reshape(-1, 6)


def _key_and_fill(generator: np.random.Generator) -> NDArray[np.float64]:
    """Portrait lighting (2, 6) of one colour: a key lamp high on one side, a weaker fill lamp low on the other."""
    side, warm, power = generator.choice([-1.0, 1.0]), generator.normal(0, 0.1), generator.uniform(1.0, 2.5)
    key = _lamp(side * generator.uniform(0.15, 0.9), generator.uniform(0.25, 0.8), power, warm)
    weaker = power * generator.uniform(0.3, 0.8)
    return np.stack([key, _lamp(-side * generator.uniform(0.1, 0.8), generator.uniform(-0.1, 0.4), weaker, warm)])


def _matching(
    generator: np.random.Generator, low_9: NDArray[np.float64], map_9: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Lamps (k, 6) of one colour that give a map the low bands ``low_9``, as far as lamps in front of the head can.

    Lamps and map together have twice to six times the map's mean radiance. Few of many places get a lamp
    (non-negative least squares).
    """
    from scipy.optimize import nnls

    turn = _rotation(2, generator.uniform(0, 2 * np.pi)) @ _rotation(0, generator.uniform(-0.2, 0.2))
    places = on_hemisphere(60)[::2] @ turn.T
    places = places[places[:, 2] > 0.1]
    target = low_9 / max(float(low_9[0]), 1e-6) * map_9[0] * generator.uniform(1.5, 4.0)
    basis = sh.evaluate(torch.from_numpy(places), 3).numpy().T
    weight = np.array([0.5, *3 * [1.0], *5 * [0.7]])
    power, _ = nnls(basis * weight[:, None], (target - map_9) * weight)
    warm = np.exp(generator.normal(0, 0.1) * np.array([1.0, 0.0, -1.0]))
    found = [np.concatenate([place, p * warm]) for place, p in zip(places, power.round(4), strict=True) if p > 0.02]
    return np.array(found).reshape(-1, 6)


def _lamp(around: float, height: float, power: float, warm: float) -> NDArray[np.float64]:
    """Lamp (6): direction at angles (radians) from +z, and irradiance of a surface that faces it; ``warm`` > 0: red."""
    direction = [np.sin(around) * np.cos(height), np.sin(height), np.cos(around) * np.cos(height)]
    return np.array([*direction, *(power * np.exp(np.array([warm, 0.0, -warm])))])


def radiance(light: EnvironmentLight, directions_n3: NDArray[np.float64], lamps: bool = False) -> NDArray[np.float32]:
    """Radiance (n x 3) from unit directions of the head frame, bilinear in the environment map.

    ``lamps`` adds the lamps, as discs with soft edges.
    """
    from scipy.ndimage import map_coordinates

    x, y, z = (directions_n3 @ light.rotation_33).T  # R^T d
    image = load_lights()[light.name]
    height, width = image.shape[:2]
    column = (np.arctan2(x, -z) / (2 * np.pi) % 1) * width - 0.5
    row = np.arccos(np.clip(y, -1, 1)) / np.pi * height - 0.5
    padded = np.concatenate([image[:, -1:], image, image[:, :1]], 1)
    found = [map_coordinates(padded[..., c], (row, column + 1), order=1, mode="nearest") for c in range(3)]
    seen = np.stack(found, -1) * light.gain_3
    for lamp in light.lamps_k6 if lamps else ():
        # exp(k (cos - 1)) integrates to 2 pi / k over the sphere
        seen += np.exp(_LAMP * (directions_n3 @ lamp[:3] - 1))[:, None] * lamp[3:] * (_LAMP / (2 * np.pi))
    return seen.astype(np.float32)


def environment(light: EnvironmentLight, height: int = HEIGHT) -> NDArray[np.float32]:
    """The whole light, lamps included, as an environment map (height, 2 height, 3) in the head frame."""
    directions = sh.environment_directions(height, 2 * height).double().numpy()
    return radiance(light, directions.reshape(-1, 3), lamps=True).reshape(height, 2 * height, 3)


_LAMP = 150.0
"""Concentration of a lamp's disc: a softbox of about 14 degrees."""
_PORTRAIT_TINT = np.array([0.07, 0.0, 0.02])
"""Logarithm of the gains by which skin in portraits is redder than measured skin under balanced light."""


@functools.cache
def _solid_angles() -> NDArray[np.float64]:
    """Share of the sphere that each pixel of a built-in map covers, flattened."""
    sines = np.sin((np.arange(HEIGHT) + 0.5) / HEIGHT * np.pi)
    return np.repeat(sines / sines.sum() / (2 * HEIGHT), 2 * HEIGHT)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    """Right-handed rotation about a coordinate axis."""
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[[i, j], [i, j]] = np.cos(angle)
    rotation[i, j], rotation[j, i] = -np.sin(angle), np.sin(angle)
    return rotation
