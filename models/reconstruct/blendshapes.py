"""Weights of the named expressions in a person's mesh.

A morph target is linear in its weight and independent of the others; a real face is not (see
``models/head/expression_model.py``). Targets are exact for one expression at full weight; docs/head.md gives the
errors at other weights and in combinations.
"""

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from mosar.models.head import Head
from mosar.models.head.expression_model import express
from mosar.models.head.morph import morph_targets

_RIDGE = 0.02  # ridge penalty, as a share of the mean squared target norm: keeps similar shapes from cancelling
_ROUNDS = 3


def expression_weights(head: Head, mesh_1v3: Tensor, neutral_1v3: Tensor) -> dict[str, float]:
    """Weights in [0, 1] of the head's expressions that bring ``neutral`` nearest to ``mesh`` (least squares).

    The weights refer to the head's non-linear expression model. Each of three rounds solves a linear problem on the
    morph targets, corrected by the error that the targets make at the weights of the previous round.
    """
    if not head.expression_names:
        return {}
    neutral, offset = neutral_1v3.detach().cpu(), (mesh_1v3 - neutral_1v3).detach().cpu()
    targets = morph_targets(head, neutral)
    basis = targets.flatten(1).double()
    gram = basis @ basis.T
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    # The normal equations as a small least-squares problem: |U w - U^-T b|^2 with gram = U^T U.
    upper = torch.linalg.cholesky(gram, upper=True)
    weights = torch.zeros(len(targets))
    for _ in range(_ROUNDS):
        missed = express(head, neutral, weights[None]) - neutral - torch.tensordot(weights, targets, dims=1)
        wanted = (basis @ (offset - missed).flatten().double())[:, None]
        reduced = torch.linalg.solve_triangular(upper.T, wanted, upper=False)[:, 0]
        found = lsq_linear(upper.numpy(), reduced.numpy(), bounds=(0.0, 1.0), tol=1e-6)
        weights = torch.from_numpy(np.clip(found.x, 0.0, 1.0)).float()
    return {name: round(float(w), 4) for name, w in zip(head.expression_names, weights, strict=True)}
