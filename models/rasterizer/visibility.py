"""The triangle that each pixel sees: scan conversion in numba on the CPU, torch operations on CUDA. No gradients.

Homogeneous edge functions (Olano and Greer 1997): with camera-space corners a, b, c and the ray d = K^-1 (x, y, 1) of a
pixel centre, ``d . (b x c)``, ``d . (c x a)`` and ``d . (a x b)`` are the barycentrics times a common factor. They need
no division by depth, so triangles that cross the camera's plane are exact at every pixel without clipping.
Shapes: p packed vertices, q packed triangles, b images, h w rows and columns.
"""

import numpy as np
import torch
from torch import Tensor

from mosar.models.numba_parallel import bands_of, compiled, side_by_side
from mosar.models.rasterizer.layout import Layout
from mosar.models.rasterizer.pairwise import visible_pairwise

NEAR = 1.0
"""Smallest depth that is drawn, mm."""


def visible(
    points_p3: Tensor, layout: Layout, intrinsics_b33: Tensor, size: tuple[int, int], cull_backfaces: bool = True
) -> Tensor:
    """The packed index of the triangle that each pixel centre sees, int64 (B, H, W), -1 for none.

    Args:
        points_p3: packed corners in the camera frame of their image, mm.
        layout: layout of B images.
        intrinsics_b33: pixels.
        size: height and width.

    Among equally near triangles a pixel sees the one with the lowest index. A centre on a shared edge sees one of both.
    """
    points_p3, intrinsics_b33 = points_p3.detach(), intrinsics_b33.detach()
    if points_p3.is_cuda:
        return visible_pairwise(points_p3, layout, intrinsics_b33, size, cull_backfaces, NEAR)
    return _visible_cpu(points_p3, layout, intrinsics_b33, size, cull_backfaces)


def _visible_cpu(
    points_p3: Tensor, layout: Layout, intrinsics_b33: Tensor, size: tuple[int, int], cull: bool
) -> Tensor:
    height, width = size
    points = np.ascontiguousarray(points_p3.numpy())
    triangles = [np.ascontiguousarray(t.numpy(), np.int64) for t in layout.triangles]
    intrinsics = intrinsics_b33.numpy().astype(np.float64)
    inverses = np.linalg.inv(intrinsics)
    seen = np.full((len(triangles), height, width), -1, np.int64)
    rows = bands_of(height, len(seen))

    def scan(image: int, band: int) -> None:
        _scan(
            points[layout.first_vertex[image] :], triangles[image], layout.first_face[image], intrinsics[image],
            inverses[image], cull, NEAR, rows[band], rows[band + 1], seen[image],
        )  # fmt: skip

    side_by_side(scan, [(image, band) for image in range(len(seen)) for band in range(len(rows) - 1)])
    return torch.from_numpy(seen)


@compiled
def _scan(points, triangles, first_face, k, inverse, cull, near, row_first, row_last, seen):  # type: ignore[no-untyped-def]
    width = seen.shape[1]
    nearness = np.zeros((row_last - row_first, width))  # 1 / depth, affine in the pixel; 0 is infinitely far
    for f in range(len(triangles)):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, az = _corner(points, a)
        bx, by, bz = _corner(points, b)
        cx, cy, cz = _corner(points, c)
        # The edge functions of a shared edge are exact negatives in its two triangles, so no pixel falls between them.
        e00, e01, e02 = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        volume = ax * e00 + ay * e01 + az * e02  # negative: the outside faces the camera
        if volume == 0.0 or (cull and volume > 0.0):
            continue
        x_min, x_max, y_min, y_max = _box((ax, ay, az), (bx, by, bz), (cx, cy, cz), k, near)
        # Centres are at + 0.5. The margin of 0.01 pixels covers the different rounding of box and edge functions.
        r0, r1 = max(y_min - 0.51, row_first - 1.0), min(y_max - 0.49, row_last - 1.0)
        c0, c1 = max(x_min - 0.51, -1.0), min(x_max - 0.49, width - 1.0)
        if not (r0 <= r1 and c0 <= c1):
            continue
        row_0, row_1 = max(row_first, int(np.ceil(r0))), int(np.floor(r1))
        column_0, column_1 = max(0, int(np.ceil(c0))), int(np.floor(c1))
        if row_0 > row_1 or column_0 > column_1:
            continue
        e10, e11, e12 = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
        e20, e21, e22 = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        sign = -1.0 if volume < 0.0 else 1.0
        # The edge functions in terms of the pixel are E = K^-T e; K is upper triangular.
        x0, y0, z0 = _in_pixels(e00, e01, e02, inverse)
        x1, y1, z1 = _in_pixels(e10, e11, e12, inverse)
        x2, y2, z2 = _in_pixels(e20, e21, e22, inverse)
        for row in range(row_0, row_1 + 1):
            s0, s1, s2 = y0 * (row + 0.5) + z0, y1 * (row + 0.5) + z1, y2 * (row + 0.5) + z2
            for column in range(column_0, column_1 + 1):
                w0 = sign * (x0 * (column + 0.5) + s0)
                w1 = sign * (x1 * (column + 0.5) + s1)
                w2 = sign * (x2 * (column + 0.5) + s2)
                if w0 >= 0.0 and w1 >= 0.0 and w2 >= 0.0:
                    n = (w0 + w1 + w2) / (sign * volume)
                    if n > nearness[row - row_first, column] and n * near <= 1.0:
                        nearness[row - row_first, column] = n
                        seen[row, column] = first_face + f


@compiled
def _box(a, b, c, k, near):  # type: ignore[no-untyped-def]
    """Smallest and largest column and row of the part of a triangle beyond the near plane."""
    x_min, x_max, y_min, y_max = np.inf, -np.inf, np.inf, -np.inf
    for first, second in ((a, b), (b, c), (c, a)):
        x, y, z = first
        if z >= near:
            column, row = (k[0, 0] * x + k[0, 1] * y) / z + k[0, 2], k[1, 1] * y / z + k[1, 2]
            x_min, x_max, y_min, y_max = min(x_min, column), max(x_max, column), min(y_min, row), max(y_max, row)
        if (z < near) != (second[2] < near):
            t = (near - z) / (second[2] - z)
            x, y = x + t * (second[0] - x), y + t * (second[1] - y)
            column, row = (k[0, 0] * x + k[0, 1] * y) / near + k[0, 2], k[1, 1] * y / near + k[1, 2]
            x_min, x_max, y_min, y_max = min(x_min, column), max(x_max, column), min(y_min, row), max(y_max, row)
    return x_min, x_max, y_min, y_max


@compiled
def _corner(points, i):  # type: ignore[no-untyped-def]
    return np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])


@compiled
def _in_pixels(x, y, z, inverse):  # type: ignore[no-untyped-def]
    return (
        inverse[0, 0] * x,
        inverse[0, 1] * x + inverse[1, 1] * y,
        inverse[0, 2] * x + inverse[1, 2] * y + z,
    )
