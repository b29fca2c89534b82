"""Skins of real people on virtual ones: the albedo of an avatar in place of the painted one.

An avatar's albedo is what a bundle made of a photograph. A bundle that trains on virtual people with such skins learns
from its own answers (self-training), with the detail of real skin and the truth of a virtual capture.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.skin import PaintedSkin
from mosar.datasets.virtual_stage.subjects import DARKNESS, SURFACE, TONE_AXES, TONE_MEAN, Subject
from mosar.datasets.virtual_stage.uv_regions import Atlas, Values, smoothstep

_SHOWN_TRAITS = ("beard", "moustache", "stubble", "lipstick", "freckles", "moles", "age_spots")
"""Traits that an albedo shows by itself: painted, they would be there twice."""
_SEEN = (0.2, 0.5)
"""Confidences between which an albedo replaces the painted one."""


@dataclass(frozen=True, eq=False)
class PhotographedSkin:
    """An avatar's albedo on the chart (h, h, 3), linear RGB, and its confidence (s, s) in [0, 1]; row 0 at v = 1."""

    name: str
    diffuse_hw3: NDArray[np.float32]
    confidence_ss: NDArray[np.float32]


def wear(a: Atlas, subject: Subject, skin: PhotographedSkin) -> Subject:
    """The same person in the tone of the skin, without hairs and paint on the face."""
    weight_n1 = (_shown(a, skin) * a.areas["front"])[:, None]
    mean = (weight_n1 * _texels(a, skin.diffuse_hw3)).sum(axis=0) / weight_n1.sum()
    tone = (np.log(mean + SURFACE) - TONE_MEAN) @ np.linalg.inv(TONE_AXES)
    tone[0] = np.clip(tone[0], *DARKNESS)
    return replace(subject, tone=tone, traits={**subject.traits, **dict.fromkeys(_SHOWN_TRAITS, 0.0)})


def dress(a: Atlas, painted: PaintedSkin, skin: PhotographedSkin) -> PaintedSkin:
    """The painted skin with the photographed albedo where it is known, but for hair and the insides of pockets."""
    shown_n = (_shown(a, skin) * (1 - painted.scalp_n))[:, None]
    diffuse = painted.diffuse_n3 * (1 - shown_n) + _texels(a, skin.diffuse_hw3) * shown_n
    return replace(painted, diffuse_n3=np.clip(diffuse, 0.002, 0.95).astype(np.float32))


def _shown(a: Atlas, skin: PhotographedSkin) -> Values:
    return np.asarray(smoothstep(*_SEEN, _texels(a, skin.confidence_ss)) * (1 - a.areas["pocket"]), np.float32)


def _texels(a: Atlas, map_hw: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map's values at the texels of the atlas (n, ...)."""
    shrinks = len(map_hw) > a.size
    scaled = cv2.resize(map_hw, (a.size, a.size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(scaled.reshape(a.size**2, *map_hw.shape[2:])[a.inside_n], np.float32)
