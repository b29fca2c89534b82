"""Eyes that look at the camera."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.models.head import Head
from mosar.models.head.morph import morph_targets

_SPREAD = 0.06
"""Deviation of the gaze, in radians."""


def look_at(
    head: Head, expression_e: NDArray[np.floating], target_3: NDArray[np.floating], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Weights (E) with the eyes turned to about ``target_3`` (head frame, mm), at most as far as they turn."""
    weights = dict(zip(head.expression_names, np.asarray(expression_e, np.float64), strict=True))
    x, y, z = target_3
    aside = np.arctan2(x, z) + rng.normal(0, _SPREAD)
    up = np.arctan2(y, np.hypot(x, z)) + rng.normal(0, _SPREAD)
    for side, outwards in (("Left", aside), ("Right", -aside)):
        both = (("Out", outwards), ("In", -outwards), ("Up", up), ("Down", -up))
        for name, angle in ((f"eyeLook{way}{side}", angle) for way, angle in both):
            if name in weights:
                weights[name] = float(np.clip(angle / _reach(head, name), 0, 1))
    return np.array(list(weights.values()))


@functools.lru_cache(maxsize=64)
def _reach(head: Head, name: str) -> float:
    """Angle in radians by which the weight 1 of an expression turns an eyeball of the template."""
    balls = np.unique(head.triangles_f3[head.material_f == head.material_names.index("eyes")])
    rest = np.asarray(head.template_v3, np.float64)
    own = balls[(rest[balls, 0] > 0) == name.endswith("Left")]
    offset = morph_targets(head, torch.from_numpy(np.array(head.template_v3))[None])
    moved = rest[own] + offset[head.expression_names.index(name)].double().numpy()[own]
    before, after = rest[own] - rest[own].mean(0), moved - moved.mean(0)
    u, _, w = np.linalg.svd(before.T @ after)
    return float(max(np.arccos(np.clip((np.trace(u @ w) - 1) / 2, -1, 1)), 0.05))
