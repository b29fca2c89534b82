"""Identities drawn at random: believable people of all the archetypes' ancestries, sexes and ages."""

import dataclasses

import torch
from torch import Tensor

from mosar.models.head.head import Head

# Below one, so that most people lean to a few archetypes instead of all being the average of everyone.
_CONCENTRATION = 0.5


@dataclasses.dataclass(frozen=True)
class Identity:
    """Weights for :func:`mosar.models.head.shape`: convex over the archetypes (A), and over the local modes (M)."""

    archetype_a: Tensor
    mode_m: Tensor


def sample_identity(head: Head, generator: torch.Generator) -> Identity:
    """One person: Dirichlet weights over the archetypes, Gaussian weights (cut at 2.5 deviations) over the modes."""
    gamma_a = torch._standard_gamma(torch.full((len(head.archetype_names),), _CONCENTRATION), generator=generator)
    normal_m = torch.randn(len(head.mode_names), generator=generator).clamp(-2.5, 2.5)
    return Identity(gamma_a / gamma_a.sum(), normal_m * torch.tensor(head.mode_std_m))
