"""Processes and ports of this machine: free ports, descendants of a process, and those that still run."""

import contextlib
import socket
from collections.abc import Mapping

import psutil


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface on which nothing listens now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def processes_below(root: int) -> dict[int, psutil.Process]:
    """All running descendants of a process, by pid."""
    try:
        return {process.pid: process for process in psutil.Process(root).children(recursive=True)}
    except psutil.NoSuchProcess:
        return {}


def living(processes: Mapping[int, psutil.Process]) -> list[int]:
    """Pids of the processes that still run: neither ended, nor zombies, nor later processes with the same pid."""
    return [pid for pid, process in processes.items() if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    return False
