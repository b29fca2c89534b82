"""Sex, age and skin tone that a shape suggests: from names of archetypes, or regressed on the scans' modes.

Scans come without such labels. The head's archetypes have them in their names, so a ridge regression on people mixed
from these tells how the scans' modes depend on them.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets.virtual_stage.quantize import quantize
from mosar.models.head import Head, sample_identity
from mosar.models.head.identity_sampling import SCANNED, scan_modes

Floats = NDArray[np.float64]

_VALUES: Mapping[str, Mapping[str, float]] = {
    "male": {"female": 0.0, "male": 1.0},
    "old": {"child": 0.0, "young": 0.25, "old": 1.0},
    "darkness": {"african": 1.0, "asian": 0.05, "caucasian": -0.25},
}
"""Value of each word in the names of archetypes; names without such a word count as the value's middle."""
_MIDDLE = {"male": 0.5, "old": 0.5, "darkness": 0.25}
_PEOPLE = 1500  # of the regression
_EVERY = 5  # every fifth vertex of the face
_NOISE_MM = 1.0  # what the scans' modes leave of those people
_RIDGE = 30.0
_BITS = 12
_GROWN = 0.55  # mean of ``old`` over scanned people, and its deviation: nearly all are grown
_GROWN_STD = 0.22


@dataclass(frozen=True)
class Attributes:
    """What a shape suggests: ``male`` in [0, 1], ``old`` in [0, 1] (0 a child), ``darkness`` as ``Subject.tone[0]``."""

    male: float
    old: float
    darkness: float


def attributes(head: Head, archetype_a: NDArray[np.floating], mode_m: NDArray[np.floating]) -> Attributes:
    """Attributes of a person of :func:`mosar.models.head.sample_identity`.

    Scanned people have those that the regression gives, stretched to the spread over people that sexes and ages have;
    people with other archetypes have those of their archetypes.
    """
    share = float(archetype_a[head.archetype_names.index(SCANNED)]) if SCANNED in head.archetype_names else 0.0
    named = {name: _mean(head, archetype_a, name) for name in _VALUES}
    if share == 0.0:
        return Attributes(**named)
    score_3 = np.asarray(mode_m, np.float64)[scan_modes(head)] @ _slopes(head)
    male, old, darkness = score_3.tolist()
    told = {
        # The score is standard normal over scanned people; few are between the sexes.
        "male": float(1 / (1 + np.exp(-4 * male))),
        "old": float(np.clip(_GROWN + _GROWN_STD * old, 0.2, 1)),
        "darkness": _MIDDLE["darkness"] + 0.4 * darkness,
    }
    return Attributes(**{name: share * told[name] + (1 - share) * named[name] for name in _VALUES})


def _mean(head: Head, archetype_a: NDArray[np.floating], what: str) -> float:
    """Mean over archetypes other than ``scanned``, weighted, of the value for a word in their name."""
    names = [(i, name) for i, name in enumerate(head.archetype_names) if name != SCANNED]
    weight = np.array([float(archetype_a[i]) for i, _ in names])
    if not weight.sum() > 0:
        return _MIDDLE[what]
    return float(np.dot(weight / weight.sum(), [_value(name, what) for _, name in names]))


def _value(name: str, what: str) -> float:
    words = re.split(r"[^a-z]+", name)
    return next((v for word, v in _VALUES[what].items() if word in words), _MIDDLE[what])


@functools.lru_cache(maxsize=8)
def _slopes(head: Head) -> Floats:
    """Slopes (M' 3) of male, old and darkness on the weights of the scans' modes; scores are standard normal."""
    face = np.flatnonzero(head.region("face"))[::_EVERY]
    of_scans = scan_modes(head)
    scans_k = head.modes_mv3[of_scans][:, face].reshape(of_scans.sum(), -1).astype(np.float64)
    generator = torch.Generator().manual_seed(0)
    people = [sample_identity(head, generator, scanned=0.0) for _ in range(_PEOPLE)]
    grown = [p for p in people if _mean(head, p.archetype_a.numpy(), "old") >= _VALUES["old"]["young"]]
    archetype = np.stack([p.archetype_a.numpy() for p in grown]).astype(np.float64)
    local = np.stack([p.mode_m.numpy() for p in grown])[:, ~of_scans].astype(np.float64)
    offset = archetype @ head.archetypes_av3[:, face].reshape(len(head.archetype_names), -1)
    offset += local @ head.modes_mv3[~of_scans][:, face].reshape(local.shape[1], -1)
    wanted = np.array([[_mean(head, p.archetype_a.numpy(), what) for what in _VALUES] for p in grown])
    inverse = np.linalg.inv(scans_k @ scans_k.T / _NOISE_MM**2 + np.eye(len(scans_k)))
    code = (offset - offset.mean(0)) @ scans_k.T @ inverse / _NOISE_MM**2
    slopes = np.linalg.solve(code.T @ code + _RIDGE * np.eye(code.shape[1]), code.T @ (wanted - wanted.mean(0)))
    return quantize(slopes / np.linalg.norm(slopes, axis=0), _BITS)
