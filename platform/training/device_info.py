"""What a run's arithmetic depends on besides its numbers: the processor, and kernels that add up in any order."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mosar.platform.runs import run

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")


def name(device: "torch.device") -> str:
    """The model of a GPU; of a CPU also the instructions that torch uses."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def note(location: str, step: int, device: "torch.device") -> str | None:
    """Note in the run's metrics what it trains on; a warning where that is not what it was trained on before."""
    now = name(device)
    before = [line["hardware"] for line in run.metrics(location) if "hardware" in line]
    if before[-1:] == [now]:
        return None
    run.log(location, {"step": step, "time": time.time(), "hardware": now})
    if not before:
        return None
    return f"trained on {before[-1]} until now, goes on on {now}: its weights may differ in their last bits"


def rounding(work: Callable[[], Result]) -> tuple[Result, str | None]:
    """What ``work`` gives, and a warning where torch has no deterministic kernel for some of it (some of CUDA's)."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = work()
    texts = [str(warning.message) for warning in said]
    names = sorted({text.split(" does not have a deterministic")[0] for text in texts if "deterministic impl" in text})
    if not names:
        return result, None
    return result, f"no deterministic kernel for {', '.join(names)}: runs agree up to rounding, not to the last bit"
