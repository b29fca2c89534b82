"""Synthetic people, sampled from the head's own identities and expressions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mosar.models.head import Head, sample_identity
from mosar.models.head.expression_model import express
from mosar.models.head.expression_sampling import sample_expression
from mosar.models.head.identity_sampling import SCANNED_SHARE
from mosar.models.head.morph import neutral

CHUNK = 256


@dataclass(frozen=True)
class SyntheticPeople:
    """People: neutral meshes (n, v, 3), mm, and their expression weights (n, e)."""

    head: Head
    neutral_nv3: Tensor
    expression_ne: Tensor

    def meshes(self) -> Tensor:
        """Meshes (n, v, 3), mm, with their expressions."""
        return express(self.head, self.neutral_nv3, self.expression_ne)

    def swapped(self) -> Tensor:
        """Meshes (n, v, 3), mm, of the next person with the expression of each."""
        return express(self.head, self.neutral_nv3.roll(-1, 0), self.expression_ne)


def sample_people(
    head: Head, count: int, seed: int, device: torch.device | None = None, scanned: float = SCANNED_SHARE
) -> Iterator[SyntheticPeople]:
    """Yield ``count`` people in chunks; see :func:`sample_chunk`."""
    for number, first in enumerate(range(0, count, CHUNK)):
        yield sample_chunk(head, number, seed, device, min(CHUNK, count - first), scanned)


def sample_chunk(
    head: Head,
    number: int,
    seed: int,
    device: torch.device | None = None,
    size: int = CHUNK,
    scanned: float = SCANNED_SHARE,
) -> SyntheticPeople:
    """The ``number``-th chunk of people of a seed; ``scanned`` is the share of scanned ones, if the head has them."""
    rng = np.random.default_rng([seed, number])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    people = [sample_identity(head, generator, scanned) for _ in range(size)]
    weights_ne = np.stack([sample_expression(head, rng) for _ in range(size)])
    archetype, mode = (torch.stack([getattr(p, name) for p in people]).to(device) for name in ("archetype_a", "mode_m"))
    return SyntheticPeople(head, neutral(head, archetype, mode), torch.from_numpy(weights_ne).to(device))
