"""Single precision inside mixed precision: geometry and light lose millimetres and colours in bfloat16."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")
_HALF = (torch.bfloat16, torch.float16)


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` without autocast, and with tensors of half precision among its arguments as float32.

    Networks run in the precision of the training's autocast. The functions between them (cameras, meshes, lights, least
    squares) are wrapped with this: their matrix products would otherwise be rounded to three digits, and some solvers
    have no half precision at all.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if not (torch.is_autocast_enabled("cuda") or torch.is_autocast_enabled("cpu")):
            return function(*args, **kwargs)
        with torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            return function(*map(_single, args), **{k: _single(v) for k, v in kwargs.items()})  # type: ignore[arg-type]

    return run


def _single(value: object) -> object:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype in _HALF else value
