"""Skins of real people on virtual ones: the albedo of an avatar in place of the painted one.

An avatar's albedo is what a bundle made of a photograph. A bundle that trains on virtual people with such skins learns
from its own answers (self-training): the albedo has the detail of real skin, and all else is a virtual capture's.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.skin import PaintedSkin
from mosar.datasets.virtual_stage.subjects import DARKNESS, SURFACE, TONE_AXES, TONE_MEAN, Subject
from mosar.datasets.virtual_stage.uv_regions import Atlas, Values, smoothstep
from mosar.models.colour import LUMINANCE

_SHOWN_TRAITS = ("beard", "moustache", "stubble", "lipstick", "freckles", "moles", "age_spots")
"""Traits that are painted or grown on a virtual face, which would hide the albedo or be there twice."""
_PLAIN = ("forehead", "cheeks", "nose")
"""Areas without hair and lips, which tell the tone."""
_SEEN = (0.2, 0.5)
"""Confidences between which an albedo replaces the painted one; mirrored texels have 0.5."""
_BEARD = (0.25, 0.6)
"""Distances of the logarithm of the luminance from the skin's between which a texel where beards grow is hair."""


@dataclass(frozen=True, eq=False)
class PhotographedSkin:
    """An avatar's albedo on the chart (h, h, 3), linear RGB, and its confidence (s, s) in [0, 1]; row 0 at v = 1."""

    name: str
    diffuse_hw3: NDArray[np.float32]
    confidence_ss: NDArray[np.float32]


def shown(a: Atlas, skin: PhotographedSkin) -> float:
    """Share of forehead, cheeks and nose that the albedo shows."""
    return float((_known(a, skin) * _plain(a) > 0.5).sum() / (_plain(a) > 0.5).sum())


def wear(a: Atlas, subject: Subject, skin: PhotographedSkin) -> Subject:
    """The same person in the tone of the skin, without beard, freckles and the like; some of it has to be shown."""
    tone = (np.log(_colour(a, skin) + SURFACE) - TONE_MEAN) @ np.linalg.inv(TONE_AXES)
    tone[0] = np.clip(tone[0], *DARKNESS)
    return replace(subject, tone=tone, traits={**subject.traits, **dict.fromkeys(_SHOWN_TRAITS, 0.0)})


def dress(a: Atlas, painted: PaintedSkin, skin: PhotographedSkin) -> PaintedSkin:
    """The painted skin with the photographed albedo where that shows skin.

    Brows, lashes, beards and the scalp stay as painted, for they are drawn as hairs too, and their classes are known.
    So do the relief and the specular map.
    """
    areas, albedo_n3 = a.areas, _texels(a, skin.diffuse_hw3)
    away = np.abs(np.log((albedo_n3 @ LUMINANCE + 1e-3) / (_colour(a, skin) @ LUMINANCE + 1e-3)))
    grows = np.clip(areas["beard"] + areas["moustache"], 0, 1) * smoothstep(*_BEARD, away)
    worn = _known(a, skin) * (1 - painted.scalp_n) * (1 - grows)
    for name in ("pocket", "brows", "lashes"):
        worn = worn * (1 - np.clip(areas[name], 0, 1))
    diffuse = painted.diffuse_n3 * (1 - worn[:, None]) + albedo_n3 * worn[:, None]
    return replace(painted, diffuse_n3=np.clip(diffuse, 0.002, 0.95).astype(np.float32))


def _colour(a: Atlas, skin: PhotographedSkin) -> NDArray[np.float64]:
    """Median colour of plain skin, linear RGB, channel by channel."""
    at_n = np.flatnonzero(_known(a, skin) * _plain(a) > 0.5)
    return np.asarray(np.median(_texels(a, skin.diffuse_hw3)[at_n], axis=0), np.float64)


def _known(a: Atlas, skin: PhotographedSkin) -> Values:
    return smoothstep(*_SEEN, _texels(a, skin.confidence_ss))


def _plain(a: Atlas) -> Values:
    return np.asarray(np.clip(sum(a.areas[name] for name in _PLAIN), 0, 1) * a.areas["front"], np.float32)


def _texels(a: Atlas, map_hw: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map's values at the texels of the atlas (n, ...)."""
    shrinks = len(map_hw) > a.size
    scaled = cv2.resize(map_hw, (a.size, a.size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(scaled.reshape(a.size**2, *map_hw.shape[2:])[a.inside_n], np.float32)
