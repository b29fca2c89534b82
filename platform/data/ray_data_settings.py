"""Settings of Ray Data that all pipelines share."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def settings(ahead_bytes: int | None = None) -> Iterator[None]:
    """Settings for a pipeline built in this block: keep the order, pass each row on at once, print nothing.

    Args:
        ahead_bytes: approximate limit of bytes read ahead of the consumer; by default Ray's share of the object store.
    """
    from ray.data import DataContext, ExecutionResources

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    before = DataContext.get_current()
    context = before.copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1
    if ahead_bytes is not None:
        context.execution_options.resource_limits = ExecutionResources(object_store_memory=ahead_bytes)
    context.enable_progress_bars = False
    DataContext._set_current(context)
    try:
        yield
    finally:
        DataContext._set_current(before)
