"""What several photographs tell together of one person's identity codes.

Legend: k identity codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mosar.models.stages.geometry.points_network import Normal

CORRELATION = 0.5
"""Correlation of the encoder's errors in two photographs of one person: assumed, not measured."""


@dataclass(frozen=True, eq=False)
class Belief:
    """A normal distribution of identity codes: mean (1, k) and inverse covariance (k, k)."""

    mean_1k: Tensor
    precision_kk: Tensor


def together(answers: Sequence[Normal]) -> Normal:
    """One distribution from the encoder's answers (1, k) to photographs of one person.

    Each answer contains the prior of all people, which is standard normal and counts once. What an answer tells beyond
    it counts less with every further photograph, because the encoder repeats its errors.
    """
    if len(answers) == 1:
        return answers[0]
    share = 1.0 / (1.0 + CORRELATION * (len(answers) - 1))
    told = torch.cat([(-answer.log_variance_bk).exp() for answer in answers])
    means = torch.cat([answer.mean_bk for answer in answers])
    precision = 1.0 + share * (told - 1.0).clamp_min(0.0).sum(dim=0, keepdim=True)
    weighed = share * (told * means).sum(dim=0, keepdim=True)
    return Normal(weighed / precision, -precision.log())


def add(prior: Normal, found: Sequence[Belief]) -> Belief:
    """What all photographs tell; each belief contains the prior, which counts once."""
    if len(found) == 1:
        return found[0]
    alone = torch.diag((-prior.log_variance_bk[0]).exp())
    precision = alone + torch.stack([each.precision_kk - alone for each in found]).sum(dim=0)
    weighed = alone @ prior.mean_bk[0]
    for each in found:
        weighed = weighed + each.precision_kk @ each.mean_1k[0] - alone @ prior.mean_bk[0]
    mean = torch.linalg.solve(precision.double(), weighed.double()).to(weighed)
    return Belief(mean[None], precision)
