"""Compiled kernels and the threads that run them.

Kernels release the GIL and run on Python threads, as many as torch uses. Numba's own threads are not used: they abort
the process if two threads call them at once, or after a fork.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import torch
from numba.core import caching
from numba.core.dispatcher import Dispatcher


def compiled(function: Callable[..., Any], reorder_sums: bool = False) -> Callable[..., Any]:
    """``function`` as machine code, compiled at the first call and cached on disk if the disk is writable.

    ``reorder_sums`` allows vectorised sums: results are the same at every call, but may differ from the written order
    in the last bits.
    """
    options = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"} if reorder_sums else False}
    function.__dict__["is_kernel"] = True
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no cache directory is writable: a read-only installation without a home
        return numba.njit(**options)(function)


class _CacheByContent(caching._CacheLocator):
    """Place of a kernel's machine code: named by the content of the kernel's file and of those whose kernels it calls.

    Numba's own place is named by the file's path. Ray unpacks every submitted version of the code to a new path, where
    each worker of each run would compile all kernels again, for a minute.
    """

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        kernels = [value for value in function.__globals__.values() if isinstance(value, Dispatcher)]
        files = sorted({file, *(kernel.py_func.__code__.co_filename for kernel in kernels)})
        self._digest = hashlib.sha256(b"\0".join(Path(name).read_bytes() for name in files)).hexdigest()[:32]
        self._line = str(function.__code__.co_firstlineno)
        user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mosar" / "kernels"
        self._path = Path(numba.config.CACHE_DIR or user) / self._digest

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        return self._line

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_CacheByContent | None":
        """Return the place of a kernel of :func:`compiled`; None, so that numba tries its own, for other functions."""
        if not getattr(function, "is_kernel", False):
            return None
        try:
            place = cls(function, file)
            place.ensure_cache_path()
        except (OSError, RuntimeError):  # RuntimeError: there is no home
            return None
        return place


caching.CacheImpl._locator_classes.insert(0, _CacheByContent)


def arrays(*tensors: torch.Tensor) -> list[npt.NDArray[Any]]:
    """The values of CPU tensors for a kernel, contiguous; they share memory where they can."""
    return [np.ascontiguousarray(x.detach().numpy()) for x in tensors]


def side_by_side(function: Callable[..., None], tasks: Sequence[tuple[Any, ...]]) -> None:
    """Call ``function(*task)`` for every task, in parallel. Tasks must not share outputs."""
    threads = torch.get_num_threads()
    if threads == 1 or len(tasks) == 1:
        for task in tasks:
            function(*task)
    else:
        list(_pool(os.getpid(), threads).map(lambda task: function(*task), tasks))


def bands_of(height: int, images: int) -> list[int]:
    """First row of each band, then the height. There are enough bands to occupy all threads even with few images."""
    threads = torch.get_num_threads()
    bands = 1 if threads == 1 else min(height, -(-2 * threads // images))
    return [height * band // bands for band in range(bands + 1)]


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of one process. A forked child has another process id and so creates its own pool."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"rasterizer-{process}")
