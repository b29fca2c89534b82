"""Bootstrap intervals of statistics of a set: people are drawn with replacement, each with all photographs."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Statistic = Callable[[Index], float]
"""A statistic of the chosen items, which may repeat; NaN if there is none."""

_ROUNDS = 400
_RANGE = (2.5, 97.5)


def resamples(subjects: Sequence[str], seed: int, rounds: int = _ROUNDS) -> list[Index]:
    """Items of each resample (Efron and Tibshirani 1993); the same seed gives the same ones."""
    names = sorted(set(subjects))
    own = {name: np.flatnonzero([s == name for s in subjects]) for name in names}
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(names), (rounds, len(names)))
    return [np.concatenate([own[names[i]] for i in draw]) for draw in draws]


def value(statistic: Statistic, count: int) -> float | None:
    """The statistic of all items; None if it is not defined."""
    found = statistic(np.arange(count))
    return float(found) if np.isfinite(found) else None


def interval(statistic: Statistic, drawn: Sequence[Index]) -> list[float] | None:
    """The 95 % interval (low, high) of the statistic over resamples; None if it is not defined."""
    found = np.array([statistic(index) for index in drawn])
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    low, high = np.percentile(found, _RANGE)
    return [float(low), float(high)]
