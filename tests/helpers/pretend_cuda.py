"""A GPU that is pretended: tensors on the CPU that say they are on CUDA, and refuse what a GPU would refuse.

Code that mixes devices fails on a GPU alone, which few machines have. Below :class:`PretendCuda` a tensor that is moved
to or made on ``cuda`` is a :class:`OnCuda`: it computes on the CPU, but operations that mix it with tensors on the CPU
raise, and it cannot become a NumPy array. Kernels themselves are not tested.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

_CUDA = torch.device("cuda", 0)
_Generator = torch.Generator
_INDEXING = {"__getitem__", "index_put_"}
"""Operations that take indices on the CPU for a tensor on a GPU."""
_CROSSING = {"copy_", "__setitem__", "__repr__", "__len__", "__hash__", "__format__", "__set__"}
"""Operations that copy between devices, or compute nothing."""
_JOINING = {"stack", "cat", "concat", "hstack", "vstack"}
"""Operations that do not take single numbers from the CPU."""


class OnCuda(Tensor):
    """A tensor that says it is on a GPU."""


class GeneratorOnCuda(torch.Generator):
    """A generator that says it is on a GPU."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return super().__new__(cls if torch.device(device).type == "cuda" else _Generator)

    @property
    def device(self) -> torch.device:
        return _CUDA


class PretendCuda(TorchFunctionMode):
    """Pretends that there is a GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        with torch._C.DisableTorchFunctionSubclass():
            return self._run(func, args, kwargs)

    def _run(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(func, "__name__", "")
        first = args[0] if args else None
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return _CUDA if isinstance(first, OnCuda) else func(first)
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return isinstance(first, OnCuda)
        if name in ("numpy", "__array__") and isinstance(first, OnCuda):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if name == "cpu":
            return first.as_subclass(Tensor)  # type: ignore[union-attr]
        if name == "__deepcopy__" and isinstance(first, OnCuda):
            copied = first.detach().clone().as_subclass(OnCuda).requires_grad_(first.requires_grad)
            return args[1].setdefault(id(first), copied)
        if name == "to":
            return _moved(func, args, kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_cuda = any(isinstance(t, OnCuda) for t in tensors)
        device = kwargs.get("device")
        if device is not None:
            on_cuda = torch.device(device).type == "cuda"
            kwargs["device"] = "cpu"
        elif name not in _CROSSING:
            _check_mix(name, tensors)
        generator = kwargs.get("generator")
        if generator is not None and isinstance(generator, GeneratorOnCuda) != on_cuda:
            raise RuntimeError(f"{name}: the generator and the tensor are on different devices")
        found = func(*args, **kwargs)
        if found is first or name in ("tolist", "item"):
            return found
        return tree_map(lambda leaf: _tagged(leaf, on_cuda), found)


def _check_mix(name: str, tensors: list[Tensor]) -> None:
    """Tensors of both devices do not mix. Single numbers may be on the CPU, and indices of a tensor on a GPU."""
    counted = [t for t in tensors if t.ndim or isinstance(t, OnCuda) or name in _JOINING]
    if name in _INDEXING and counted and isinstance(counted[0], OnCuda):
        counted = [t for t in counted if isinstance(t, OnCuda) or t.is_floating_point()]
    if len({isinstance(t, OnCuda) for t in counted}) > 1:
        told = ", ".join(f"{tuple(t.shape)} on {'cuda' if isinstance(t, OnCuda) else 'cpu'}" for t in tensors)
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, got {told}")


def _moved(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    tensor, *rest = args
    to_cuda: bool | None = None
    plain: list[Any] = []
    for value in (*rest, kwargs.pop("device", None), kwargs.pop("other", None)):
        if isinstance(value, Tensor):
            to_cuda = isinstance(value, OnCuda)
            plain.append(value.dtype)
        elif isinstance(value, str | torch.device):
            to_cuda = torch.device(value).type == "cuda"
        elif value is not None:
            plain.append(value)
    found = func(tensor, *plain, **kwargs) if plain or kwargs else tensor
    return _tagged(found, isinstance(tensor, OnCuda) if to_cuda is None else to_cuda)


def _tagged(value: Any, on_cuda: bool) -> Any:
    if not isinstance(value, Tensor) or isinstance(value, OnCuda) == on_cuda:
        return value
    return value.as_subclass(OnCuda if on_cuda else Tensor)  # type: ignore[arg-type]


def _module_to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """In place of ``nn.Module.to``: parameters become tagged leaves."""

    def moved(value: Tensor) -> Tensor:
        return _moved(Tensor.to, (value.detach(), *args), dict(kwargs)).requires_grad_(value.requires_grad)

    for each in module.modules():
        for values in (each._parameters, each._buffers):
            for name, value in values.items():
                if value is not None:
                    values[name] = moved(value)
    return module


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """A block in which torch seems to have a GPU."""
    available = mock.patch("torch.cuda.is_available", return_value=True)
    generators = mock.patch("torch.Generator", GeneratorOnCuda)
    with available, generators, mock.patch.object(nn.Module, "to", _module_to), PretendCuda():
        yield
