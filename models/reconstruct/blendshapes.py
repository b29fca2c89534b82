"""Named expressions as a person's own morph targets, and their weights in a mesh.

A morph target is linear in its weight and independent of the others; a face is not (see
``models/head/expression_model.py``).
Targets are exact for one expression at full weight; docs/head.md says what they lose in between and together.
"""

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from mosar.models.head import Head
from mosar.models.head.expression_model import express
from mosar.models.head.morph import morph_targets

_RIDGE = 0.02  # of the mean squared column norm: keeps look-alike shapes from cancelling each other
_ROUNDS = 3


def expression_weights(head: Head, mesh_1v3: Tensor, neutral_1v3: Tensor) -> dict[str, float]:
    """Weights in [0, 1] of the head's expressions that bring ``neutral`` nearest to ``mesh`` (least squares).

    Of the head's own behaviour, not of its morph targets: these are the linear part, and what they miss at the weights
    found so far is made up for, three times over.
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
