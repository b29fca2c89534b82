"""Identities drawn at random: believable people of all the archetypes' ancestries, sexes and ages."""

import dataclasses

import torch
from torch import Tensor

from mosar.models.head.head import Head

# Dirichlet concentrations: below one, so that most people lean to few ancestries, and to one sex.
_ANCESTRY, _SEX, _OTHER = 0.35, 0.25, 0.5
_CHILDREN = 0.08


@dataclasses.dataclass(frozen=True)
class Identity:
    """Weights for :func:`mosar.models.head.shape`: convex over the archetypes (A), and over the local modes (M)."""

    archetype_a: Tensor
    mode_m: Tensor


def sample_identity(head: Head, generator: torch.Generator) -> Identity:
    """One person: a mixture of archetypes, and Gaussian weights (cut at 2.5 deviations) over the modes.

    Archetypes named ``ancestry-sex-age`` with ages child, young and old are mixed factor by factor: most people are
    adults, of an age spread evenly from young to old. Archetypes of other names get Dirichlet weights.
    """
    normal_m = torch.randn(len(head.mode_names), generator=generator).clamp(-2.5, 2.5)
    return Identity(_mixture(head.archetype_names, generator), normal_m * torch.tensor(head.mode_std_m))


def _mixture(names: tuple[str, ...], generator: torch.Generator) -> Tensor:
    words = [tuple(name.split("-")) for name in names]
    if any(len(w) != 3 or w[2] not in ("child", "young", "old") for w in words):
        return _dirichlet(_OTHER, len(names), generator)
    factors = [sorted({w[i] for w in words}) for i in range(2)]
    weights = [
        dict(zip(factor, _dirichlet(alpha, len(factor), generator).tolist(), strict=True))
        for factor, alpha in zip(factors, (_ANCESTRY, _SEX), strict=True)
    ]
    is_child, share = torch.rand(2, generator=generator).tolist()
    other = "child" if is_child < _CHILDREN else "old"
    ages = {"child": 0.0, "young": 1 - share, "old": 0.0, other: share}
    mixture_a = torch.tensor([weights[0][a] * weights[1][s] * ages[t] for a, s, t in words])
    total = mixture_a.sum()
    return mixture_a / total if total > 0 else _dirichlet(_OTHER, len(names), generator)


def _dirichlet(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    gamma = torch._standard_gamma(torch.full((count,), alpha), generator=generator).clamp(min=1e-6)
    return gamma / gamma.sum()
