"""Compiled kernels and the threads that run them.

Python's threads around kernels that release the interpreter, not numba's own: those abort the process when two threads
call them at once, or after a fork. As many threads as torch uses.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numba
import torch


def compiled(function: Callable[..., Any], reorder_sums: bool = False) -> Callable[..., Any]:
    """``function`` as machine code, compiled at the first call and kept on disk where there is a place for it.

    ``reorder_sums`` allows vectorised sums: the same at every call, but not to the last bit as written.
    """
    options = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"} if reorder_sums else False}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to write: a read-only installation without a home
        return numba.njit(**options)(function)


def side_by_side(function: Callable[..., None], tasks: Sequence[tuple[Any, ...]]) -> None:
    """Call ``function(*task)`` for every task; they share no output."""
    threads = torch.get_num_threads()
    if threads == 1 or len(tasks) == 1:
        for task in tasks:
            function(*task)
    else:
        list(_pool(os.getpid(), threads).map(lambda task: function(*task), tasks))


def bands_of(height: int, images: int) -> list[int]:
    """First rows of bands, and the height: enough tasks for all threads even with few images."""
    threads = torch.get_num_threads()
    bands = 1 if threads == 1 else min(height, -(-2 * threads // images))
    return [height * band // bands for band in range(bands + 1)]


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child has another id and makes its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix=f"rasterizer-{process}")
