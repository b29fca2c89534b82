"""Trained weights in one half-precision file, which the program ships: tensors, and what describes them as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mosar.errors import DataError

_DIMENSIONS, _LEAST = 3, 4096  # least ones of a tensor that is worth its scales
_SCALE = ".scale_of_8_bits"


def to_bytes(module: nn.Module, about: Mapping[str, Any]) -> bytes:
    """Content of the file that :func:`read` reads; the same weights give the same bytes. ``about`` is JSON-ready."""
    return save(half(module.state_dict()), {"about": json.dumps(about, sort_keys=True)})


def half(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in half precision, on the CPU; counts stay as they are.

    Means stay in single precision: half precision rounds values of the size of a head to a tenth of a millimetre.
    """

    def stored(name: str, value: Tensor) -> Tensor:
        short = value.is_floating_point() and "mean" not in name
        return value.detach().cpu().to(torch.float16 if short else value.dtype).contiguous()

    return {name: stored(name, value) for name, value in state.items()}


def compact(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as :func:`half` gives them, but large tensors (kernels, bases of patches) as 8-bit integers.

    Each row of the first dimension has its own scale, so values are off by up to 1/254 of the row's largest. This is
    for networks whose answers are small corrections.
    """
    found: dict[str, Tensor] = {}
    for name, value in half(state).items():
        if value.ndim >= _DIMENSIONS and value.dtype == torch.float16 and value.numel() >= _LEAST:
            scale = value.float().abs().flatten(1).amax(dim=1).clamp_min(1e-8) / 127.0
            found[name] = (value.float() / _rows(scale, value)).round().to(torch.int8)
            found[name + _SCALE] = scale
        else:
            found[name] = value
    return found


def expanded(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that :func:`half` or :func:`compact` made smaller, with all values as numbers again."""
    scales = {name.removesuffix(_SCALE): scale for name, scale in stored.items() if name.endswith(_SCALE)}
    whole = {name: stored[name].float() * _rows(scale, stored[name]) for name, scale in scales.items()}
    return {name: value for name, value in stored.items() if not name.endswith(_SCALE)} | whole


def _rows(scale_n: Tensor, like: Tensor) -> Tensor:
    """One scale for each row of the first dimension, in the shape that multiplies ``like``."""
    return scale_n.reshape(-1, *(1,) * (like.ndim - 1))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """``about``, and the tensors in single precision.

    Raises:
        DataError: there is no such file, or it was not written by jobs/export_weights.py.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path}: {error}; expected a file written by jobs/export_weights.py") from error
    if not isinstance(about, dict) or "model" not in about:
        raise DataError(f"{path}: does not say which model it holds; expected a file written by jobs/export_weights.py")
    return about, tensors
