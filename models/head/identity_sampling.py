"""Random identities: scanned people, and people of the ancestries, sexes and ages that the archetypes have."""

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.models.head.head import Head

SCANNED = "scanned"
"""Name of the archetype of people whose shape the scans' modes alone describe."""
SCAN_MODE = "scan-"
"""Start of the names of the scans' modes; the other modes are local ones."""
SCANNED_SHARE = 0.75
"""Share of scanned people among those drawn from a head that has them; the others widen the scans."""

# Dirichlet concentrations are below one, so that few ancestries and one sex dominate in most people.
_ANCESTRY, _SEX, _OTHER = 0.35, 0.25, 0.5
_CHILDREN, _CHILDREN_BESIDE_SCANS = 0.08, 0.3
_BESIDE_ARCHETYPES = 0.7  # deviation of the scans' modes where archetypes add to them
_LIMIT = 2.5


@dataclasses.dataclass(frozen=True)
class Identity:
    """Weights for :func:`mosar.models.head.shape`: convex weights of the archetypes (A), and of the local modes (M)."""

    archetype_a: Tensor
    mode_m: Tensor


def sample_identity(head: Head, generator: torch.Generator, scanned: float = SCANNED_SHARE) -> Identity:
    """Draw one person: a mixture of archetypes, and Gaussian weights of the modes, clipped at 2.5 deviations.

    If all archetypes are named ``ancestry-sex-age`` with ages child, young and old, the three factors are drawn
    separately: most people are adults, with ages uniform from young to old. Otherwise weights are Dirichlet.

    On a head with an archetype ``scanned``, a share of people has it alone, with the scans' modes and no local ones.
    The others have the scans' modes at 0.7 of their deviation, the local modes, and a mixture of the other archetypes,
    with more children.

    Args:
        scanned: that share; heads without such an archetype ignore it.
    """
    normal_m = torch.randn(len(head.mode_names), generator=generator).clamp(-_LIMIT, _LIMIT)
    mode_m = normal_m * torch.tensor(head.mode_std_m)
    if SCANNED not in head.archetype_names:
        return Identity(_mixture(head.archetype_names, generator, _CHILDREN), mode_m)
    of_scans_m = torch.from_numpy(scan_modes(head))
    at, others = head.archetype_names.index(SCANNED), [n for n in head.archetype_names if n != SCANNED]
    if not others or float(torch.rand(1, generator=generator)) < scanned:
        alone_a = torch.zeros(len(head.archetype_names))
        alone_a[at] = 1.0
        return Identity(alone_a, mode_m * of_scans_m)
    mixed = _mixture(tuple(others), generator, _CHILDREN_BESIDE_SCANS)
    mixture_a = torch.cat([mixed[:at], torch.zeros(1), mixed[at:]])
    return Identity(mixture_a, torch.where(of_scans_m, _BESIDE_ARCHETYPES * mode_m, mode_m))


def scan_modes(head: Head) -> npt.NDArray[np.bool_]:
    """Which modes (M) are the scans'."""
    return np.array([name.startswith(SCAN_MODE) for name in head.mode_names], bool)


def _mixture(names: tuple[str, ...], generator: torch.Generator, children: float) -> Tensor:
    words = [tuple(name.split("-")) for name in names]
    if any(len(w) != 3 or w[2] not in ("child", "young", "old") for w in words):
        return _dirichlet(_OTHER, len(names), generator)
    factors = [sorted({w[i] for w in words}) for i in range(2)]
    weights = [
        dict(zip(factor, _dirichlet(alpha, len(factor), generator).tolist(), strict=True))
        for factor, alpha in zip(factors, (_ANCESTRY, _SEX), strict=True)
    ]
    is_child, share = torch.rand(2, generator=generator).tolist()
    other = "child" if is_child < children else "old"
    ages = {"child": 0.0, "young": 1 - share, "old": 0.0, other: share}
    mixture_a = torch.tensor([weights[0][a] * weights[1][s] * ages[t] for a, s, t in words])
    total = mixture_a.sum()
    return mixture_a / total if total > 0 else _dirichlet(_OTHER, len(names), generator)


def _dirichlet(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    gamma = torch._standard_gamma(torch.full((count,), alpha), generator=generator).clamp(min=1e-6)
    return gamma / gamma.sum()
