"""Random identities: plausible people of all ancestries, sexes and ages that the archetypes have."""

import dataclasses

import torch
from torch import Tensor

from mosar.models.head.head import Head

# Dirichlet concentrations are below one, so that few ancestries and one sex dominate in most people.
_ANCESTRY, _SEX, _OTHER = 0.35, 0.25, 0.5
_CHILDREN = 0.08


@dataclasses.dataclass(frozen=True)
class Identity:
    """Weights for :func:`mosar.models.head.shape`: convex weights of the archetypes (A), and of the local modes (M)."""

    archetype_a: Tensor
    mode_m: Tensor


def sample_identity(head: Head, generator: torch.Generator) -> Identity:
    """Draw one person: a mixture of archetypes, and Gaussian weights of the modes, clipped at 2.5 deviations.

    If all archetypes are named ``ancestry-sex-age`` with ages child, young and old, the three factors are drawn
    separately: most people are adults, with ages uniform from young to old. Otherwise weights are Dirichlet.
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
