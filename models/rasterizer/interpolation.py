"""Barycentric interpolation of corner values: a compiled kernel on the CPU, torch on CUDA.

Shapes: n points, p packed values, c channels.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mosar.models.numba_parallel import arrays, compiled, side_by_side
from mosar.models.precision import full_precision

_CHUNK = 8192


@full_precision
def interpolate(values_pc: Tensor, corner_n3: Tensor, barycentric_n3: Tensor) -> Tensor:
    """``sum_i barycentric_i values[corner_i]`` (N, C), differentiable in values and barycentrics."""
    dtype = torch.promote_types(values_pc.dtype, barycentric_n3.dtype)
    values_pc, barycentric_n3 = values_pc.to(dtype), barycentric_n3.to(dtype)
    if values_pc.is_cuda or not dtype.is_floating_point or dtype.itemsize < 4:
        return plain(values_pc, corner_n3, barycentric_n3)
    mixed: Tensor = _Interpolate.apply(values_pc, corner_n3, barycentric_n3)
    return mixed


def plain(values_pc: Tensor, corner_n3: Tensor, barycentric_n3: Tensor) -> Tensor:
    """Like :func:`interpolate`, from torch operations."""
    values_n3c = values_pc.index_select(0, corner_n3.flatten()).unflatten(0, (-1, 3))
    return (barycentric_n3[:, None] @ values_n3c)[:, 0]


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_pc: Tensor, corner_n3: Tensor, barycentric_n3: Tensor) -> Tensor:
        ctx.save_for_backward(values_pc, corner_n3, barycentric_n3)
        values, corners, weights = arrays(values_pc, corner_n3, barycentric_n3)
        out = np.empty((len(corners), values.shape[1]), values.dtype)

        def run(first: int) -> None:
            here = slice(first, first + _CHUNK)
            _forward(values, corners[here], weights[here], out[here])

        side_by_side(run, [(first,) for first in range(0, len(corners), _CHUNK)])
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        values, corners, weights = arrays(*ctx.saved_tensors)
        gradient = gradients[0].contiguous().numpy()
        wanted = ctx.needs_input_grad
        for_weights = np.empty_like(weights) if wanted[2] else None
        for_values = np.zeros_like(values) if wanted[0] else None

        def run(first: int) -> None:
            # Points of all chunks add to the same values: one thread sums them in the order of the points.
            if first < 0:
                _to_values(corners, weights, gradient, for_values)
            elif for_weights is not None:
                here = slice(first, first + _CHUNK)
                _to_weights(values, corners[here], gradient[here], for_weights[here])

        summing = [(-1,)] if wanted[0] else []
        side_by_side(run, [*summing, *((first,) for first in range(0, len(corners), _CHUNK))])
        a, b = (None if x is None else torch.from_numpy(x) for x in (for_values, for_weights))
        return a, None, b


@compiled
def _forward(values, corners, weights, out):  # type: ignore[no-untyped-def]
    for n in range(len(corners)):
        a, b, c = corners[n, 0], corners[n, 1], corners[n, 2]
        for channel in range(values.shape[1]):
            out[n, channel] = (
                weights[n, 0] * values[a, channel]
                + weights[n, 1] * values[b, channel]
                + weights[n, 2] * values[c, channel]
            )


@compiled
def _to_weights(values, corners, gradient, out):  # type: ignore[no-untyped-def]
    for n in range(len(corners)):
        for i in range(3):
            total = gradient[n, 0] * values[corners[n, i], 0]
            for channel in range(1, values.shape[1]):
                total += gradient[n, channel] * values[corners[n, i], channel]
            out[n, i] = total


@compiled
def _to_values(corners, weights, gradient, out):  # type: ignore[no-untyped-def]
    for n in range(len(corners)):
        for i in range(3):
            for channel in range(out.shape[1]):
                out[corners[n, i], channel] += weights[n, i] * gradient[n, channel]
