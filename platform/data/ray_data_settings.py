"""Settings of Ray Data that all pipelines share."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def settings(ahead_bytes: int | None = None) -> Iterator[None]:
    """Settings for a pipeline built in this block: keep the order, pass each row on at once, be patient, print nothing.

    Args:
        ahead_bytes: approximate limit of bytes read ahead of the consumer; by default Ray's share of the object store.
    """
    from ray.data import DataContext, ExecutionResources

    from mosar.platform.data.scheduling_pause import SchedulingPause

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    before = DataContext.get_current()
    context = before.copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1
    if ahead_bytes is not None:
        context.execution_options.resource_limits = ExecutionResources(object_store_memory=ahead_bytes)
    context.enable_progress_bars = False
    context.custom_execution_callback_classes = [SchedulingPause]
    # By default Ray ends a pipeline of which nothing came or was taken for half an hour. A shard may take longer to
    # make, and a worker may pause longer between batches. A frozen worker has a watchdog of its own (`train.stall_s`).
    context.execution_no_progress_timeout_s = -1
    DataContext._set_current(context)
    try:
        yield
    finally:
        DataContext._set_current(before)
