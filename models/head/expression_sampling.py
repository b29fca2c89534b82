"""Random expressions, as faces show them in front of a camera."""

import numpy as np
from numpy.typing import NDArray

from mosar.models.head.head import Head


def sample_expression(head: Head, rng: np.random.Generator) -> NDArray[np.float32]:
    """Weights (E) of an expression: neutral or a mood's few units, slightly asymmetric, with a random gaze."""
    weights = dict.fromkeys(head.expression_names, 0.0)

    def both(name: str, weight: float) -> None:
        for side in ("Left", "Right"):
            weights[name + side] = weights.get(name + side, 0) + weight * rng.uniform(0.85, 1.0)

    mood = rng.choice(["neutral", "smile", "grin", "speech", "worry", "anger", "surprise", "disgust", "units"],
                      p=[0.26, 0.2, 0.16, 0.13, 0.05, 0.05, 0.05, 0.04, 0.06])  # fmt: skip
    strength = rng.uniform(0.25, 1.0)
    units = _MOODS.get(str(mood), {})
    if mood == "speech":
        units = {"jawOpen": rng.uniform(0, 0.5), str(rng.choice(_MOUTH_SHAPES)): rng.uniform(0, 0.6)}
    if mood == "units":
        units = {
            str(name): rng.uniform(0, 0.8)
            for name in rng.choice(head.expression_names, min(4, len(weights)), replace=False)
        }
    for name, weight in units.items():
        if name in weights:
            weights[name] += weight * strength
        else:
            both(name, weight * strength)
    blink = rng.uniform(0, 0.15) if rng.random() < 0.95 else rng.uniform(0.5, 1)
    both("eyeBlink", blink)
    _look(weights, rng.normal(0, 0.22), rng.normal(0, 0.15))
    return np.array([np.clip(weights.get(n, 0.0), 0, 1) for n in head.expression_names], np.float32)


_MOODS = {
    "smile": {"mouthSmile": 0.75, "cheekSquint": 0.35, "eyeSquint": 0.25, "mouthDimple": 0.15},
    "grin": {"mouthSmile": 0.8, "mouthUpperUp": 0.35, "mouthLowerDown": 0.2, "jawOpen": 0.12, "cheekSquint": 0.5,
             "eyeSquint": 0.35},
    "worry": {"browInnerUp": 0.8, "mouthFrown": 0.4, "mouthPress": 0.2},
    "anger": {"browDown": 0.9, "eyeSquint": 0.3, "noseSneer": 0.3, "mouthPress": 0.5},
    "surprise": {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.4},
    "disgust": {"noseSneer": 0.8, "mouthUpperUp": 0.4, "browDown": 0.4, "eyeSquint": 0.3},
}  # fmt: skip
_MOUTH_SHAPES = ("mouthPucker", "mouthFunnel", "mouthStretch", "mouthRollLower", "mouthRollUpper", "mouthLowerDown")


def _look(weights: dict[str, float], aside: float, up: float) -> None:
    """Turn both eyes by ``aside`` (towards the subject's left) and ``up``; 1 is the largest turn."""
    for side, outwards in (("Left", aside), ("Right", -aside)):
        weights[f"eyeLook{'Out' if outwards > 0 else 'In'}{side}"] = min(abs(aside), 1)
        weights[f"eyeLook{'Up' if up > 0 else 'Down'}{side}"] = min(abs(up), 1)
