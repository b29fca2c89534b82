"""What a run's rounding depends on besides its inputs: the processor, and kernels that sum in any order."""

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
    """Model name of a GPU; for a CPU its model name and the instruction set that torch uses."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def note(location: str, step: int, device: "torch.device") -> str | None:
    """Record the device in the run's metrics. Returns a warning if the run trained on another one before."""
    now = name(device)
    before = [line["hardware"] for line in run.metrics(location) if "hardware" in line]
    if before[-1:] == [now]:
        return None
    run.log(location, {"step": step, "time": time.time(), "hardware": now})
    if not before:
        return None
    return f"trained on {before[-1]} until now, continues on {now}: its weights may differ in their last bits"


def rounding(work: Callable[[], Result]) -> tuple[Result, str | None]:
    """Returns the result of ``work``, and a warning if torch lacks a deterministic kernel for it (some on CUDA)."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = work()
    texts = [str(warning.message) for warning in said]
    for warning in said:
        if "deterministic impl" not in str(warning.message):  # not for this function
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    names = sorted({text.split(" does not have a deterministic")[0] for text in texts if "deterministic impl" in text})
    if not names:
        return result, None
    return result, f"no deterministic kernel for {', '.join(names)}: runs agree up to rounding, not to the last bit"
