"""Sums of spherical harmonics at many directions, with analytic gradients; compiled kernels on the CPU, torch on CUDA.

Shapes: b lights, n points, l or k coefficients, c channels.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mosar.models.numba_parallel import side_by_side
from mosar.models.precision import full_precision
from mosar.models.shading import kernels
from mosar.models.shading.basis import basis, basis_gradient, recurrence

Scattering = tuple[float, ...]

_CHUNK = 4096


@full_precision
def series(
    light_blc: Tensor,
    directions: Tensor,
    image_n: Tensor | None = None,
    blur: Tensor | None = None,
    scattering: Scattering = (),
) -> Tensor:
    """Radiance of lights in unit directions: ``sum_lm exp(-l (l + 1) tau_c T) L_lm,c Y_lm``.

    Args:
        light_blc: coefficients; their number is the square of the number of bands.
        directions: (B, N, 3), or packed (N, 3) with ``image_n``.
        image_n: index of each packed direction's light, ascending; without it there must be one light.
        blur: T, (B, N, 1) or (N, 1): the width of a heat kernel on the sphere. None means 0.
        scattering: tau of each channel.

    Returns:
        (B, N, C) or (N, C) in at least single precision. On the CPU the basis is computed in blocks that fit a cache.
        Light, directions and blur receive analytic gradients; there are no second derivatives.
    """
    check_light(light_blc)
    if directions.ndim < 1 or directions.shape[-1] != 3:
        raise ValueError(f"series: got directions {tuple(directions.shape)}; expected (..., 3)")
    if blur is not None and (blur.shape != (*directions.shape[:-1], 1) or len(scattering) != light_blc.shape[-1]):
        raise ValueError(
            f"series: got light {tuple(light_blc.shape)}, directions {tuple(directions.shape)}, blur "
            f"{tuple(blur.shape)} and {len(scattering)} scattering values; expected (B, L, C), (..., 3), (..., 1) and C"
        )
    counts = _counts(light_blc, directions, image_n)
    dtype = torch.promote_types(torch.float32, torch.promote_types(light_blc.dtype, directions.dtype))
    flat_n3, light_blc = directions.reshape(-1, 3).to(dtype), light_blc.to(dtype)
    blur_n = None if blur is None else blur.reshape(-1).to(dtype)
    function = plain if directions.is_cuda else _compiled
    return function(light_blc, flat_n3, counts, blur_n, scattering).view(*directions.shape[:-1], light_blc.shape[-1])


def plain(
    light_blc: Tensor, directions_n3: Tensor, counts: list[int], blur_n: Tensor | None, scattering: Scattering
) -> Tensor:
    """The series (N, C) from torch operations; each light b in turn has the next ``counts[b]`` directions."""
    if blur_n is None:
        flat: Tensor = _Plain.apply(directions_n3, light_blc, counts)
        return flat
    bands, channels = math.isqrt(light_blc.shape[1]), light_blc.shape[2]
    # One channel for each band and colour: sum over m first, then apply the band's blur.
    apart = light_blc.new_zeros(*light_blc.shape[:2], bands, channels)
    for degree in range(bands):
        rows = slice(degree * degree, (degree + 1) ** 2)
        apart[:, rows, degree] = light_blc[:, rows]
    bands_nlc: Tensor = _Plain.apply(directions_n3, apart.flatten(2), counts).unflatten(-1, (bands, channels))
    order_l = torch.arange(bands, device=light_blc.device)
    order_l = (order_l * (order_l + 1)).to(light_blc)
    weight_nlc = torch.exp(-blur_n[:, None, None] * order_l[:, None] * light_blc.new_tensor(scattering))
    return (bands_nlc * weight_nlc).sum(-2)


def check_light(light_blc: Tensor) -> None:
    """Raise ValueError unless the shape is (B, bands squared, channels)."""
    if light_blc.ndim != 3 or math.isqrt(light_blc.shape[1]) ** 2 != light_blc.shape[1] or light_blc.shape[1] == 0:
        raise ValueError(f"light: got {tuple(light_blc.shape)}; expected (B, bands squared, channels)")


def _counts(light_blc: Tensor, directions: Tensor, image_n: Tensor | None) -> list[int]:
    batch = len(light_blc)
    if directions.ndim == 3 and image_n is None and directions.shape[0] == batch:
        return [directions.shape[1]] * batch
    if directions.ndim == 2 and image_n is None and batch == 1:
        return [len(directions)]
    if directions.ndim == 2 and image_n is not None and image_n.shape == directions.shape[:1]:
        outside = len(image_n) and (int(image_n[0]) < 0 or int(image_n[-1]) >= batch)
        if outside or bool((image_n.diff() < 0).any()):
            raise ValueError(f"series: image_n must ascend within 0 to {batch - 1}, one index of a light per direction")
        counts: list[int] = torch.bincount(image_n, minlength=batch).tolist()
        return counts
    raise ValueError(
        f"series: got light {tuple(light_blc.shape)}, directions {tuple(directions.shape)} and image_n "
        f"{None if image_n is None else tuple(image_n.shape)}; expected (B, N, 3), or (N, 3) with image_n (N)"
    )


def _chunks(counts: list[int], step: int) -> list[tuple[int, int, int]]:
    """Chunks (image, first, last) of at most ``step`` points of one light."""
    chunks, start = [], 0
    for image, count in enumerate(counts):
        chunks += [(image, i, min(i + step, start + count)) for i in range(start, start + count, max(step, 1))]
        start += count
    return chunks


@lru_cache
def _factors(bands: int, single: bool) -> Any:
    """a and b of the kernels' recurrence (bands, bands, 2); the diagonal holds its start values."""
    factors = np.zeros((bands, bands, 2), np.float32 if single else np.float64)
    sectoral = math.sqrt(1 / (4 * math.pi))
    for m in range(bands):
        sectoral *= math.sqrt((2 * m + 1) / (2 * m)) if m else 1.0
        factors[m, m, 0] = sectoral * (math.sqrt(2) if m else 1.0)
    for degree, m, a, b in recurrence(bands):
        factors[degree, m] = a, a * b
    return factors


def _compiled(
    light_blc: Tensor, directions_n3: Tensor, counts: list[int], blur_n: Tensor | None, scattering: Scattering
) -> Tensor:
    value: Tensor = _Compiled.apply(directions_n3, light_blc, blur_n, counts, scattering)
    return value


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        directions_n3: Tensor,
        light_blc: Tensor,
        blur_n: Tensor | None,
        counts: list[int],
        scattering: Scattering,
    ) -> Tensor:
        inputs = (directions_n3, light_blc, *([] if blur_n is None else [blur_n]))
        ctx.save_for_backward(*inputs)
        ctx.counts, ctx.scattering = counts, scattering
        directions, light, blur, tau, factors = _arrays(inputs, scattering)
        out = np.empty((len(directions), light.shape[2]), directions.dtype)

        def run(image: int, first: int, last: int) -> None:
            here = slice(first, last)
            kernels.forward(directions[here], light[image], factors, blur[here], tau, out[here])

        side_by_side(run, _chunks(counts, _CHUNK))
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        directions, light, blur, tau, factors = _arrays(ctx.saved_tensors, ctx.scattering)
        gradient, chunks = gradients[0].contiguous().numpy(), _chunks(ctx.counts, _CHUNK)
        wanted = ctx.needs_input_grad
        for_directions = np.empty_like(directions if wanted[0] else directions[:0])
        for_light = np.zeros((len(chunks), *light.shape[1:]) if wanted[1] else (len(chunks), 0, 0), light.dtype)
        for_blur = np.empty_like(blur if wanted[2] else blur[:0])

        def run(chunk: int, image: int, first: int, last: int) -> None:
            here = slice(first, last)
            kernels.backward(
                directions[here], light[image], factors, blur[here], tau, gradient[here],
                for_directions[here], for_light[chunk], for_blur[here],
            )  # fmt: skip

        side_by_side(run, [(i, *chunk) for i, chunk in enumerate(chunks)])
        summed = np.zeros_like(light)
        for (image, _, _), part in zip(chunks, for_light if wanted[1] else [], strict=False):
            summed[image] += part
        results = (for_directions, summed, for_blur)
        a, b, c = (torch.from_numpy(x) if want else None for x, want in zip(results, wanted, strict=False))
        return a, b, c, None, None


def _arrays(saved: tuple[Tensor, ...], scattering: Scattering) -> tuple[Any, ...]:
    directions, light, *rest = (np.ascontiguousarray(x.detach().numpy()) for x in saved)
    blur = rest[0] if rest else np.empty(0, directions.dtype)
    factors = _factors(math.isqrt(light.shape[1]), bool(directions.dtype == np.float32))
    return directions, light, blur, np.asarray(scattering, directions.dtype), factors


class _Plain(torch.autograd.Function):
    """``sum_k Y_k(directions) light_k``; each light b in turn has the next ``counts[b]`` directions."""

    @staticmethod
    def forward(ctx: Any, directions_n3: Tensor, light_blc: Tensor, counts: list[int]) -> Tensor:
        ctx.save_for_backward(directions_n3, light_blc)
        ctx.counts = counts
        bands = math.isqrt(light_blc.shape[1])
        out_cn = directions_n3.new_empty(light_blc.shape[-1], len(directions_n3))
        for image, first, last in _chunks(counts, _step(directions_n3)):
            basis_kn = torch.stack(basis(directions_n3[first:last], bands))
            torch.mm(light_blc[image].mT, basis_kn, out=out_cn[:, first:last])
        return out_cn.mT

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        directions_n3, light_blc = ctx.saved_tensors
        (gradient_nc,) = gradients
        bands = math.isqrt(light_blc.shape[1])
        for_directions = torch.empty_like(directions_n3) if ctx.needs_input_grad[0] else None
        for_light = torch.zeros_like(light_blc) if ctx.needs_input_grad[1] else None
        for image, first, last in _chunks(ctx.counts, _step(directions_n3)):
            chunk_n3, chunk_nc = directions_n3[first:last], gradient_nc[first:last]
            if for_light is not None:
                for_light[image] += torch.stack(basis(chunk_n3, bands)) @ chunk_nc
            if for_directions is not None:
                weight_kn = light_blc[image] @ chunk_nc.mT
                for_directions[first:last] = basis_gradient(chunk_n3, bands, weight_kn).mT
        return for_directions, for_light, None


def _step(directions_n3: Tensor) -> int:
    """Points per chunk, so that the basis fits a CPU's cache. A GPU gains nothing from chunks."""
    return len(directions_n3) if directions_n3.is_cuda else 8192
