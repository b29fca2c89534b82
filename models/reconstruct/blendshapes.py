"""Named expression weights from a mesh and its neutral."""

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor

from mosar.models.head import Head

_RIDGE = 0.02  # of the mean squared column norm: keeps look-alike shapes from cancelling each other


def expression_weights(head: Head, mesh_1v3: Tensor, neutral_1v3: Tensor) -> dict[str, float]:
    """Weights in [0, 1] of the head's expressions whose sum is nearest to ``mesh - neutral`` (least squares)."""
    if not head.expression_names:
        return {}
    basis = torch.tensor(head.expressions_ev3).flatten(1).double()
    offset = (mesh_1v3 - neutral_1v3).detach().cpu().flatten().double()
    gram = basis @ basis.T
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    # The normal equations as a small least-squares problem: |U w - U^-T b|^2 with gram = U^T U.
    upper = torch.linalg.cholesky(gram, upper=True)
    target = torch.linalg.solve_triangular(upper.T, (basis @ offset)[:, None], upper=False)[:, 0]
    found = lsq_linear(upper.numpy(), target.numpy(), bounds=(0.0, 1.0), tol=1e-6)
    weights = np.clip(found.x, 0.0, 1.0)
    return {name: round(float(w), 4) for name, w in zip(head.expression_names, weights, strict=True)}
