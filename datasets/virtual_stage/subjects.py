"""Subjects of the virtual light stage: identity, age, sex, hair, and skin tone, sampled evenly over human tones."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.attributes import attributes
from mosar.datasets.virtual_stage.quantize import quantize
from mosar.models.head import Head
from mosar.models.head.expression_sampling import sample_expression
from mosar.models.head.identity_sampling import SCANNED_SHARE, sample_identity

__all__ = ["Subject", "sample_expression", "sample_subject", "skin_tone", "some_with_glasses"]

Floats = NDArray[np.float64]

TONE_MEAN = np.array([-0.989, -1.558, -1.931])
"""Mean of log reflectance of facial skin, linear sRGB, specular included (ISSA, Lu et al. 2025)."""
TONE_AXES = np.array([[-0.511, -0.575, -0.639], [-0.700, -0.153, 0.698], [0.498, -0.804, 0.324]])
"""Principal axes of that log reflectance: rows are melanin-like, hue, haemoglobin-like."""
TONE_STD = np.array([0.605, 0.097, 0.054])
SURFACE = 0.035
"""Surface reflection contained in the measured reflectance; the remainder is diffuse."""
DARKNESS = (-0.58, 1.38)
"""Range from which the first coordinate is uniformly drawn: with the variation on a face, the measured 1-99 %."""

THICK_RIMS, THIN_RIMS, HALF_RIMS, NO_RIMS = 1.0, 0.7, 0.4, 0.0
"""Values of the trait ``rims`` of glasses: half rims are the upper half; all but the first are of metal."""

_WEIGHT_BITS = 12
_GLASSES = 91  # stream of random numbers of a seed
_CANDIDATES = 3  # shapes from which one that fits the tone is preferred
_TONE_WIDTH = 1.2  # weak preference, in units of ``TONE_AXES``: any tone occurs with any shape


@dataclass(frozen=True, eq=False)
class Subject:
    """A subject: weights for :func:`mosar.models.head.shape`; the rest decides the maps, hair and accessories.

    ``tone``: coordinates of the skin in ``TONE_AXES``. ``age`` in years, ``male`` in [0, 1]. ``hair``, ``iris``: linear
    albedo. ``style``: name of a hair style. ``traits``: strengths in [0, 1] of features, by name.
    """

    seed: int
    archetype_a: NDArray[np.float32]
    mode_m: NDArray[np.float32]
    tone: Floats
    age: float
    male: float
    hair: Floats
    style: str
    iris: Floats
    traits: Mapping[str, float]


def sample_subject(head: Head, seed: int, scanned: float = SCANNED_SHARE) -> Subject:
    """The person of a seed, drawn from the head's statistics; tones are uniform over the human range.

    Tone is nearly independent of shape: of three shapes, one whose ancestry suggests the tone is preferred a little.

    Args:
        scanned: share of people with the scans' shapes alone, on a head that has them.
    """
    rng = np.random.default_rng(seed)
    torch_rng = torch.Generator().manual_seed(int(rng.integers(2**62)))
    darkness = rng.uniform(*DARKNESS)
    candidates = [sample_identity(head, torch_rng, scanned) for _ in range(_CANDIDATES)]
    mixtures = [_mixture(c.archetype_a.numpy()) for c in candidates]
    modes = [quantize(c.mode_m.numpy(), _WEIGHT_BITS).astype(np.float32) for c in candidates]
    told = [attributes(head, *weights) for weights in zip(mixtures, modes, strict=True)]
    likely = np.exp(-(((np.array([t.darkness for t in told]) - darkness) / _TONE_WIDTH) ** 2)) + 1e-6
    chosen = rng.choice(len(candidates), p=likely / likely.sum())
    male, old = told[chosen].male, told[chosen].old
    age = float(np.clip(8 + 68 * old + rng.normal(0, 5), 6, 85))
    tone = np.array([darkness, *rng.normal(0, 0.8, 2) * TONE_STD[1:]])
    grey = float(np.clip(rng.normal((age - 54) / 28, 0.25), 0, 1))
    return Subject(
        seed=seed,
        archetype_a=mixtures[chosen],
        mode_m=modes[chosen],
        tone=tone,
        age=age,
        male=male,
        hair=_hair_colour(rng, darkness, grey),
        style=_style(rng, male, age),
        iris=_iris_colour(rng, darkness),
        traits={**_traits(rng, darkness, age, male), "rims": _rims(seed)},
    )


def some_with_glasses(person: Subject, share: float) -> Subject:
    """The same person, who wears glasses with this probability."""
    wears = np.random.default_rng([person.seed, _GLASSES]).random() < share
    return replace(person, traits={**person.traits, "glasses": float(wears)})


def _mixture(archetype_a: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convex weights on a binary grid; the largest weight absorbs the rounding error."""
    found = quantize(archetype_a, _WEIGHT_BITS)
    found[found.argmax()] += 1 - found.sum()
    return found.astype(np.float32)


def skin_tone(tone: Floats) -> Floats:
    """Linear diffuse albedo at coordinates (..., 3) in ``TONE_AXES``."""
    return np.exp(TONE_MEAN + tone @ TONE_AXES) - SURFACE


def _hair_colour(rng: np.random.Generator, darkness: float, grey: float) -> Floats:
    """Linear albedo: black to brown, lighter and redder where skin is lighter, grey with age."""
    lightness = rng.beta(1.2, 2.2) * np.clip(0.75 - darkness, 0.02, 1)
    base = 0.008 + 0.30 * lightness**1.8
    warmth = rng.uniform(0.45, 0.8) * np.clip(lightness * 4, 0.3, 1)
    colour = base * np.array([1 + warmth, 1.0, 1 - 0.62 * warmth])
    return colour * (1 - grey) + grey * rng.uniform(0.18, 0.5) * np.array([1.0, 0.98, 0.95])


def _style(rng: np.random.Generator, male: float, age: float) -> str:
    """Random name of a hair style in ``hair.STYLES``, given sex and age."""
    if male > 0.5:
        bald = np.clip((age - 25) / 90, 0, 0.5)
        weights = {"bald": bald, "shaved": 0.2, "short": 0.45, "afro": 0.1, "long": 0.05}
    else:
        weights = {"bald": 0.02, "shaved": 0.04, "short": 0.2, "afro": 0.14, "tied": 0.3, "long": 0.4}
    p = np.array(list(weights.values()))
    return str(rng.choice(list(weights), p=p / p.sum()))


def _iris_colour(rng: np.random.Generator, darkness: float) -> Floats:
    """Linear albedo: brown; with light skin also blue, grey, green or light brown."""
    brown = np.array([0.11, 0.050, 0.020]) * np.exp(rng.normal(0, 0.35))
    if rng.random() > np.clip(0.75 - 1.3 * (darkness + 0.2), 0.02, 0.7):
        return brown
    light = np.array([[0.10, 0.16, 0.24], [0.14, 0.16, 0.17], [0.10, 0.13, 0.07], [0.16, 0.11, 0.05]])
    return light[rng.integers(4)] * np.exp(rng.normal(0, 0.2))


def _rims(seed: int) -> float:
    rims = (THICK_RIMS, THIN_RIMS, HALF_RIMS, NO_RIMS)
    return float(np.random.default_rng(seed + 91).choice(rims, p=(0.4, 0.25, 0.15, 0.2)))


def _traits(rng: np.random.Generator, darkness: float, age: float, male: float) -> dict[str, float]:
    """Random strengths in [0, 1]; most people show little of most traits."""

    def some(chance: float, low: float = 0.2) -> float:
        return float(rng.uniform(low, 1.0)) if rng.random() < chance else float(rng.uniform(0, 0.15))

    adult = float(np.clip((age - 15) / 8, 0, 1))
    wrinkles = float(np.clip((age - 28) / 45 + rng.normal(0, 0.12), 0, 1))
    shaven = some(0.8, 0.15) * adult * male if male > 0.5 else 0.0
    bearded = male > 0.55 and age > 18 and rng.random() < 0.35
    return {
        "freckles": some(0.3 * float(darkness < 0.3)) * (1.0 if darkness < 0.3 else 0.3),
        "moles": some(0.6),
        "blush": float(rng.uniform(0.2, 1.0)),
        "dark_circles": float(rng.uniform(0.1, 1.0)),
        "blotches": some(0.5),
        "age_spots": some(0.7) * float(np.clip((age - 45) / 25, 0, 1)),
        "lips_red": float(np.clip(rng.normal(0.5, 0.25), 0, 1)),
        "lipstick": float(rng.uniform(0.4, 1.0)) if male < 0.4 and age > 16 and rng.random() < 0.3 else 0.0,
        "stubble": shaven,
        "beard": float(rng.uniform(0.5, 1.0)) if bearded else 0.0,
        "moustache": float(rng.uniform(0.6, 1.0)) if bearded or (male > 0.55 and rng.random() < 0.08) else 0.0,
        "brows": float(rng.uniform(0.6, 1.0)) * (0.8 + 0.2 * male),
        "glasses": float(rng.random() < (0.12 if age < 40 else 0.35)),
        "wrinkles": wrinkles,
        "pores": float(rng.uniform(0.3, 1.0)) * (0.5 + 0.5 * adult),
        "oil": float(rng.uniform(0.2, 1.0)),
        "tan_uneven": float(rng.uniform(0.2, 1.0)),
        "receding": float(np.clip((age - 25) / 55 + rng.normal(0, 0.2), 0, 1)) * male,
    }
