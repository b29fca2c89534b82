"""The Laplacian as a sparse layer, against its dense matrix."""

import numpy as np
import torch

from mosar.models.mesh_laplacian import SparseLinear, adjacency, scaled_laplacian

TRIANGLES = np.array([[0, 1, 2], [1, 3, 2], [3, 4, 2]])


def test_the_laplacian_is_that_of_the_normalised_adjacency() -> None:
    dense = np.zeros((5, 5))
    for a, b in ((0, 1), (1, 2), (2, 0), (1, 3), (3, 2), (3, 4), (4, 2)):
        dense[a, b] = dense[b, a] = 1.0
    scale = np.diag(dense.sum(axis=1) ** -0.5)
    np.testing.assert_allclose(scaled_laplacian(adjacency(TRIANGLES, 5)).toarray(), -scale @ dense @ scale, atol=1e-6)


def test_product_and_gradient_are_those_of_the_dense_matrix() -> None:
    matrix = scaled_laplacian(adjacency(TRIANGLES, 5))
    dense = torch.tensor(matrix.toarray())
    x, weight = torch.randn(2, 5, 3, requires_grad=True), torch.randn(2, 5, 3)
    out = SparseLinear(matrix)(x)
    (out * weight).sum().backward()
    torch.testing.assert_close(out, dense @ x)
    torch.testing.assert_close(x.grad, dense.T @ weight)
