"""Rest for Ray Data's scheduling loop while the consumer of a pipeline is busy."""

import time
from typing import Any

from ray.data._internal.execution.execution_callback import ExecutionCallback

_SHORTEST_S, _LONGEST_S = 0.001, 0.05
_INSTANT_S = 0.05


class SchedulingPause(ExecutionCallback):
    """Pauses after each step of the loop, longer and longer while steps do not wait for anything.

    The loop runs in a thread of the consumer and waits for output of the reading tasks. Once as much is read ahead as
    allowed, such output lies ready and is not taken, so that the wait returns at once, and the thread keeps a core and
    the interpreter's lock to itself: measured with two workers on two cores, 0.54 of the processor time of training.
    """

    def __init__(self) -> None:
        self._woke_s = time.perf_counter()
        self._pause_s = _SHORTEST_S

    def on_execution_step(self, executor: Any) -> None:
        instant = time.perf_counter() - self._woke_s < _INSTANT_S
        self._pause_s = min(2 * self._pause_s, _LONGEST_S) if instant else _SHORTEST_S
        time.sleep(self._pause_s)
        self._woke_s = time.perf_counter()
