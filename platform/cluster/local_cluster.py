"""A Ray cluster on this machine's loopback that several processes can use, and that ends with a block."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar.errors import RunError
from mosar.platform.cluster import local_autoscaler
from mosar.platform.cluster.capacity import CAPACITY
from mosar.platform.cluster.connection import (
    ADDRESS,
    LOGICAL_CPUS,
    LOOPBACK,
    TOKEN,
    changed_environment,
    connect,
    credentials,
    unproxied,
)
from mosar.platform.cluster.lean_head import NO_REPORT
from mosar.platform.cluster.processes import free_ports, living, processes_below
from mosar.platform.cluster.temporary import ray_folder

_START_S, _STOP_S = 180.0, 15.0


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster on this machine: addresses, environment of processes that use it, its group leader."""

    address: str
    dashboard: str | None
    environment: Mapping[str, str]
    process: int


@contextlib.contextmanager
def local_cluster(
    logical_cpus: int = LOGICAL_CPUS,
    dashboard: bool = False,
    shipped: Mapping[str, Any] | None = None,
    idle_s: float = 10.0,
) -> Iterator[LocalCluster]:
    """Start a cluster on the loopback interface for several processes, with its own ports, token and temporary folder.

    ``dashboard`` is needed to submit jobs. Pass ``environment`` to each process that uses the cluster. The end of the
    block ends only this cluster; ``ray stop`` would end every Ray on the machine. With ``shipped``, a cluster file from
    :func:`mosar.platform.cluster.local_autoscaler.load`, the cluster autoscales like the shipped one: it starts with
    its head alone; other nodes live while they are needed and ``idle_s`` longer.

    Raises:
        RunError: the cluster did not start.
    """
    with ray_folder() as folder, _started(folder, logical_cpus, dashboard, shipped, idle_s) as cluster:
        yield cluster


@contextlib.contextmanager
def _started(
    folder: Path, logical_cpus: int, dashboard: bool, shipped: Mapping[str, Any] | None, idle_s: float
) -> Iterator[LocalCluster]:
    secret = credentials() | unproxied()
    gcs, web, agent, client = free_ports(4)
    command = [sys.executable, "-m", "mosar.platform.cluster.lean_head", "start", "--head"]
    command += ["--block", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={folder}"]
    command += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    # Any free ports: by default the workers of every cluster take theirs from 10002 on, and several clusters on one
    # machine would compete for the same ones.
    command += ["--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--include-dashboard={dashboard}", "--dashboard-host=127.0.0.1", f"--dashboard-port={web}"]
    environment = {k: v for k, v in os.environ.items() if k != ADDRESS} | secret | LOOPBACK | NO_REPORT
    environment["RAY_JOB_STOP_WAIT_TIME_S"] = "60"  # as in deploy/Dockerfile
    if dashboard:  # Submitted jobs bring their code, and workers that wait without it are of no use to them.
        environment["RAY_prestart_worker_first_driver"] = "0"
    # As in an activated environment, because submitted jobs are started as `python`.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    if shipped is not None:
        made = local_autoscaler.make(shipped, f"127.0.0.1:{gcs}", idle_s / 60)
        (folder / "autoscaling.yaml").write_text(json.dumps(made))  # JSON is YAML
        command.append(f"--autoscaling-config={folder / 'autoscaling.yaml'}")
        logical_cpus = made["available_node_types"][local_autoscaler.HEAD]["resources"]["CPU"]
        environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        # Without GPUs, because the twin's GPUs do not exist.
        environment[CAPACITY] = f"CPU={local_autoscaler.capacity(made)['CPU']:g}"
    command.append(f"--num-cpus={logical_cpus}")
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{web}" if dashboard else None
    try:
        _wait_until_up(process, gcs, url, secret[TOKEN], folder / "start.log")
        yield LocalCluster(
            address=f"127.0.0.1:{gcs}",
            dashboard=url,
            environment=secret | LOOPBACK | {ADDRESS: f"127.0.0.1:{gcs}"},
            process=process.pid,
        )
    finally:
        _end(process)


@contextlib.contextmanager
def using(cluster: LocalCluster) -> Iterator[None]:
    """Connect this process to ``cluster``."""
    with changed_environment(dict(cluster.environment)), connect():
        yield


def _wait_until_up(process: subprocess.Popen[bytes], port: int, url: str | None, token: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RunError(f"Ray did not start: {log.read_text(errors='replace')[-2000:]}")
        if (_answers(url, token) if url else _listens(port)) and "Ray runtime started" in log.read_text(
            errors="replace"
        ):
            return
        time.sleep(0.1)
    raise RunError(f"Ray did not start within {_START_S:.0f} s: {log.read_text(errors='replace')[-2000:]}")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _answers(url: str, token: str) -> bool:
    request = urllib.request.Request(f"{url}/api/version", headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy does not reach this machine
    with contextlib.suppress(OSError), opener.open(request, timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the leader to stop its node cleanly; then kill whatever it started, in any process group."""
    started = processes_below(process.pid)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in living(started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + _STOP_S
    while living(started) and time.monotonic() < until:  # killed processes need a moment to end
        time.sleep(0.02)
