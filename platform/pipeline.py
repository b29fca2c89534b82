"""Settings of Ray Data that all our pipelines share."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """For a pipeline built in this block: order kept, each row handed on at once, silent."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    before = DataContext.get_current()
    context = before.copy()
    context.execution_options.preserve_order = True
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    DataContext._set_current(context)
    try:
        yield
    finally:
        DataContext._set_current(before)
