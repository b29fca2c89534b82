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
