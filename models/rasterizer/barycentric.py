"""Perspective-correct barycentrics and depths of pixels in their triangles, with gradients.

Corners are moved along the pixel's ray d = K^-1 (x, y, 1) into the plane z = 0. The differences are then small, and
single precision is sufficient: with corners a, b, c, ``d . (b x c) = (b - b_z d) x (c - c_z d)``, and barycentrics are
these products divided by their sum.
Shapes: p packed vertices, b images, h w rows and columns, n covered pixels.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mosar.models.numba_parallel import arrays, bands_of, compiled, side_by_side
from mosar.models.rasterizer.layout import Layout


def barycentric(points_p3: Tensor, inverse_b33: Tensor, layout: Layout, seen_bhw: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentrics (B, H, W, 3) and depths (B, H, W); -1 at empty pixels. The first two arguments receive gradients.

    Args:
        points_p3: corners in the camera frame of their image, mm.
        inverse_b33: inverse intrinsics.
        layout: layout of the images.
        seen_bhw: packed index of the triangle that each pixel sees, -1 for none.
    """
    if points_p3.is_cuda:
        return naive(points_p3, inverse_b33, layout, seen_bhw)
    values: tuple[Tensor, Tensor] = _Barycentric.apply(points_p3, inverse_b33, layout, seen_bhw)
    return values


def naive(points_p3: Tensor, inverse_b33: Tensor, layout: Layout, seen_bhw: Tensor) -> tuple[Tensor, Tensor]:
    """Like :func:`barycentric`, from torch operations."""
    _, height, width = seen_bhw.shape
    flat = seen_bhw.flatten()
    index_n = torch.nonzero(flat >= 0)[:, 0]
    pixel_n = index_n % (height * width)
    centre_n3 = torch.stack([pixel_n % width + 0.5, pixel_n // width + 0.5, torch.ones_like(pixel_n)], -1)
    inverse_n33 = inverse_b33.index_select(0, index_n // (height * width))
    rays_n2 = (inverse_n33[:, :2] @ centre_n3[..., None].to(inverse_b33))[..., 0]
    corners_n33 = points_p3[layout.packed().index_select(0, flat.index_select(0, index_n))]
    x_n3, y_n3 = (corners_n33[..., :2] - corners_n33[..., 2:] * rays_n2[:, None]).unbind(-1)
    next_3, last_3 = [1, 2, 0], [2, 0, 1]
    weight_n3 = x_n3[:, next_3] * y_n3[:, last_3] - y_n3[:, next_3] * x_n3[:, last_3]
    barycentric_n3 = weight_n3 / weight_n3.sum(-1, keepdim=True)
    depth_n = (barycentric_n3 * corners_n33[..., 2]).sum(-1)
    empty = points_p3.new_full((len(flat), 3), -1.0)
    dense = empty.index_copy(0, index_n, barycentric_n3), empty[:, 0].index_copy(0, index_n, depth_n)
    return dense[0].view(*seen_bhw.shape, 3), dense[1].view(seen_bhw.shape)


class _Barycentric(torch.autograd.Function):
    """Like :func:`naive`, in compiled kernels that compute in double precision."""

    @staticmethod
    def forward(
        ctx: Any, points_p3: Tensor, inverse_b33: Tensor, layout: Layout, seen_bhw: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(points_p3, inverse_b33, seen_bhw)
        ctx.layout = layout
        points, inverse, seen = arrays(points_p3, inverse_b33, seen_bhw)
        meshes = _meshes(layout)
        weights, depth = np.full((*seen.shape, 3), -1, points.dtype), np.full(seen.shape, -1, points.dtype)
        rows = bands_of(seen.shape[1], len(seen))

        def band(image: int, i: int) -> None:
            triangles, vertex, face = meshes[image]
            into = weights[image], depth[image]
            _forward(points[vertex:], inverse[image], triangles, face, seen[image], rows[i], rows[i + 1], *into)

        side_by_side(band, [(image, i) for image in range(len(seen)) for i in range(len(rows) - 1)])
        ctx.set_materialize_grads(False)
        return torch.from_numpy(weights), torch.from_numpy(depth)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor, Tensor, None, None]:
        points, inverse, seen = arrays(*ctx.saved_tensors)
        meshes = _meshes(ctx.layout)
        shapes = ((*seen.shape, 3), seen.shape)
        of_weights, of_depth = (
            np.zeros(shape, points.dtype) if g is None else np.ascontiguousarray(g.numpy())
            for g, shape in zip(gradients, shapes, strict=True)
        )
        for_points, for_inverse = np.zeros_like(points), np.zeros_like(inverse)

        def image(i: int) -> None:  # images share no vertices
            triangles, vertex, face = meshes[i]
            into = for_points[vertex:], for_inverse[i]
            _backward(points[vertex:], inverse[i], triangles, face, seen[i], of_weights[i], of_depth[i], *into)

        side_by_side(image, [(i,) for i in range(len(seen))])
        return torch.from_numpy(for_points), torch.from_numpy(for_inverse), None, None


def _meshes(layout: Layout) -> list[tuple[Any, int, int]]:
    triangles = [np.ascontiguousarray(t.numpy(), np.int64) for t in layout.triangles]
    return list(zip(triangles, layout.first_vertex, layout.first_face, strict=True))


@compiled
def _forward(points, inverse, triangles, first_face, seen, row_first, row_last, out, depth):  # type: ignore[no-untyped-def]
    for row in range(row_first, row_last):
        for column in range(seen.shape[1]):
            f = seen[row, column] - first_face
            if f < 0:
                continue
            _, _, x, y, z = _moved(points, inverse, triangles, f, row, column)
            w0, w1, w2 = x[1] * y[2] - y[1] * x[2], x[2] * y[0] - y[2] * x[0], x[0] * y[1] - y[0] * x[1]
            total = w0 + w1 + w2
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = w0 / total, w1 / total, w2 / total
            depth[row, column] = (w0 * z[0] + w1 * z[1] + w2 * z[2]) / total


@compiled
def _backward(points, inverse, triangles, first_face, seen, gradient, of_depth, for_points, for_inverse):  # type: ignore[no-untyped-def]
    for row in range(seen.shape[0]):
        for column in range(seen.shape[1]):
            f = seen[row, column] - first_face
            if f < 0:
                continue
            dx, dy, x, y, z = _moved(points, inverse, triangles, f, row, column)
            w0, w1, w2 = x[1] * y[2] - y[1] * x[2], x[2] * y[0] - y[2] * x[0], x[0] * y[1] - y[0] * x[1]
            total = w0 + w1 + w2
            depth = of_depth[row, column]
            g0 = gradient[row, column, 0] + depth * z[0]
            g1 = gradient[row, column, 1] + depth * z[1]
            g2 = gradient[row, column, 2] + depth * z[2]
            mean = (g0 * w0 + g1 * w1 + g2 * w2) / total
            g0, g1, g2 = (g0 - mean) / total, (g1 - mean) / total, (g2 - mean) / total
            # x[0] occurs in w1 and w2, x[1] in w2 and w0, x[2] in w0 and w1.
            gx = (g2 * y[1] - g1 * y[2], g0 * y[2] - g2 * y[0], g1 * y[0] - g0 * y[1])
            gy = (g1 * x[2] - g2 * x[1], g2 * x[0] - g0 * x[2], g0 * x[1] - g1 * x[0])
            weights = (w0 / total, w1 / total, w2 / total)
            for_dx, for_dy = 0.0, 0.0
            for i in range(3):
                vertex = triangles[f, i]
                for_points[vertex, 0] += gx[i]
                for_points[vertex, 1] += gy[i]
                for_points[vertex, 2] += depth * weights[i] - dx * gx[i] - dy * gy[i]
                for_dx -= z[i] * gx[i]
                for_dy -= z[i] * gy[i]
            for_inverse[0, 0] += for_dx * (column + 0.5)
            for_inverse[0, 1] += for_dx * (row + 0.5)
            for_inverse[0, 2] += for_dx
            for_inverse[1, 0] += for_dy * (column + 0.5)
            for_inverse[1, 1] += for_dy * (row + 0.5)
            for_inverse[1, 2] += for_dy


@compiled
def _moved(points, inverse, triangles, f, row, column):  # type: ignore[no-untyped-def]
    """The ray's x and y, and its triangle's corners: x and y after the move into the plane z = 0, z before it."""
    u, v = column + 0.5, row + 0.5
    dx = np.float64(inverse[0, 0]) * u + np.float64(inverse[0, 1]) * v + np.float64(inverse[0, 2])
    dy = np.float64(inverse[1, 0]) * u + np.float64(inverse[1, 1]) * v + np.float64(inverse[1, 2])
    a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
    z = (np.float64(points[a, 2]), np.float64(points[b, 2]), np.float64(points[c, 2]))
    x = (points[a, 0] - dx * z[0], points[b, 0] - dx * z[1], points[c, 0] - dx * z[2])
    y = (points[a, 1] - dy * z[0], points[b, 1] - dy * z[1], points[c, 1] - dy * z[2])
    return dx, dy, x, y, z
