"""Processes and ports of this machine: what a local cluster starts, and what of it still runs."""

import contextlib
import socket
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def living(processes: dict[int, str | None]) -> list[int]:
    """Those of ``processes_below`` that still run. Numbers are given again: only who had it at that time counts."""
    return [pid for pid, since in processes.items() if since is not None and _started_at(pid) == since]


def processes_below(root: int) -> dict[int, str | None]:
    """All living descendants of a process: number -> when it was started (None: it has just ended)."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(path.name))
    found: list[int] = []
    left = [root]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return {pid: _started_at(pid) for pid in found}


def _started_at(pid: int) -> str | None:
    """When it was started; None where no such process runs (one that has ended but was not yet reaped does not)."""
    with contextlib.suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if state in "ZX" else fields[18]
    return None
