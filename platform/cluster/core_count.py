"""The cores that this process may use."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_QUOTA_V1 = Path("/sys/fs/cgroup/cpu")


def cores() -> int:
    """Cores of this process: at most its affinity (``taskset``) and its cgroup's quota (containers), at least one."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, there if quota is None else min(there, int(quota)))


def _quota() -> float | None:
    """Cores that the cgroup grants (version 2, else 1); None without a limit."""
    try:
        if _QUOTA.is_file():
            granted, period = _QUOTA.read_text().split()
        else:
            granted, period = ((_QUOTA_V1 / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if granted in {"max", "-1"} else int(granted) / int(period)
    except (OSError, ValueError):
        return None
