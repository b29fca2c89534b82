"""The Laplacian of a triangle mesh as a sparse linear layer.

Legend: b batch, v vertices, c channels, f triangles.
"""

import warnings

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import Tensor, nn

from mosar.models.precision import full_precision

Triangles = npt.NDArray[np.int64]


def adjacency(triangles_f3: Triangles, vertices: int) -> scipy.sparse.csr_matrix:
    """Symmetric 0/1 vertex adjacency (V, V) of a triangle mesh."""
    a = triangles_f3[:, [0, 1, 2, 1, 2, 0]].reshape(-1)
    b = triangles_f3[:, [1, 2, 0, 0, 1, 2]].reshape(-1)
    matrix = scipy.sparse.coo_matrix((np.ones(len(a), np.float32), (a, b)), (vertices, vertices)).tocsr()
    matrix.data[:] = 1.0
    return matrix


def scaled_laplacian(adjacency_vv: scipy.sparse.csr_matrix) -> scipy.sparse.csr_matrix:
    """Scaled Laplacian ``2 L / lambda_max - I``; L is symmetric normalised, lambda_max = 2: ``-D^-1/2 A D^-1/2``."""
    degree = np.asarray(adjacency_vv.sum(axis=1)).reshape(-1)
    scale = scipy.sparse.diags(1.0 / np.sqrt(np.maximum(degree, 1.0)))
    return (-(scale @ adjacency_vv @ scale)).tocsr().astype(np.float32)


class _SparseMatmul(torch.autograd.Function):
    """``matrix @ x`` with backward ``matrix^T @ g``; torch's backward builds a dense gradient of the sparse matrix."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, matrix: Tensor, transposed: Tensor, x: Tensor) -> Tensor:
        ctx.transposed = transposed  # type: ignore[attr-defined]
        return torch.sparse.mm(matrix, x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[None, None, Tensor]:
        return None, None, torch.sparse.mm(ctx.transposed, grads[0].contiguous())  # type: ignore[attr-defined]


class SparseLinear(nn.Module):
    """Applies a fixed sparse matrix (O, V) to the vertex axis of (b, v, c). It follows the module's device."""

    def __init__(self, matrix: scipy.sparse.csr_matrix) -> None:
        super().__init__()
        self._matrix = _to_torch(matrix)
        self._transposed = _to_torch(matrix.T.tocsr())

    def _apply(self, fn, recurse=True):  # type: ignore[no-untyped-def]
        super()._apply(fn, recurse)
        device = fn(torch.empty(0)).device
        self._matrix, self._transposed = self._matrix.to(device), self._transposed.to(device)
        return self

    @full_precision
    def forward(self, x_bvc: Tensor) -> Tensor:
        b, v, c = x_bvc.shape
        flat = x_bvc.permute(1, 0, 2).reshape(v, b * c).float()
        out: Tensor = _SparseMatmul.apply(self._matrix, self._transposed, flat)
        return out.reshape(-1, b, c).permute(1, 0, 2)


def _to_torch(matrix: scipy.sparse.csr_matrix) -> Tensor:
    matrix = matrix.sorted_indices()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")  # warnings about beta support and about the checks enabled below
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
            matrix.shape,
            check_invariants=True,
        )
