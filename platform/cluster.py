"""The Ray cluster that a job runs on: the one it is told of, or one on this machine that lives as long as needed."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar.errors import ConfigError, RunError
from mosar.platform import twin

LOGICAL_CPUS = 16
"""Of a cluster on this machine. Logical: training workers that hold every CPU would starve their own readers."""

ROOM = "MOSAR_ROOM"
"""Environment variable of the head: what the cluster can grow to."""

_START_S, _STOP_S = 180.0, 15.0
_ADDRESS, _MODE, _TOKEN = "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"
_LOCAL = {
    # Where this is off, Ray takes 127.0.0.1 for the node's address and every port is bound to it. Where it is on, as by
    # default on Linux, Ray replaces 127.0.0.1 by an outside address, even if it was asked for.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # There is no other node to drain to.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


@contextlib.contextmanager
def connect(logical_cpus: int = LOGICAL_CPUS) -> Iterator[None]:
    """Connect to the cluster at ``RAY_ADDRESS`` (as in a submitted job), else to a new one on this machine's loopback.

    A new one asks for a token of its own and ends with the block, or with this process however it ends.
    """
    given = os.environ.get(_ADDRESS)
    with _environment({} if given else _credentials() | _LOCAL):
        import ray

        options: dict[str, Any] = {"log_to_driver": bool(os.environ.get("MOSAR_RAY_LOGS"))}
        if not given:
            options |= {"num_cpus": logical_cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        ray.init(address=given or "local", configure_logging=True, logging_level="ERROR", **options)
        try:
            yield
        finally:
            ray.shutdown()


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster on this machine: addresses, the environment that lets a process use it, its group leader."""

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
    """Start a cluster for several processes: loopback, ports, token and temporary folder of its own.

    ``dashboard`` is needed to submit jobs. Give ``environment`` to each process that shall use the cluster. Only this
    cluster is ended afterwards: ``ray stop`` would end every Ray on the machine. With ``shipped``, a cluster file that
    :func:`mosar.platform.twin.load` read, the cluster is its twin: the head of that file alone at first, other nodes
    while they are asked for and ``idle_s`` longer.

    Raises:
        RunError: it did not start.
    """
    credentials = _credentials()
    gcs, web, agent, client = free_ports(4)
    folder = Path(tempfile.mkdtemp(prefix="mosar-ray-"))
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--node-ip-address=127.0.0.1", f"--port={gcs}", f"--temp-dir={folder}"]
    command += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--include-dashboard={dashboard}", "--dashboard-host=127.0.0.1", f"--dashboard-port={web}"]
    environment = {k: v for k, v in os.environ.items() if k != _ADDRESS} | credentials | _LOCAL
    environment["RAY_JOB_STOP_WAIT_TIME_S"] = "60"  # as in deploy/Dockerfile
    # As in an activated environment: submitted jobs are started as `python`.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    if shipped is not None:
        made = twin.make(shipped, f"127.0.0.1:{gcs}", idle_s / 60)
        (folder / "twin.yaml").write_text(json.dumps(made))  # JSON is YAML
        command.append(f"--autoscaling-config={folder / 'twin.yaml'}")
        logical_cpus = made["available_node_types"][twin.HEAD]["resources"]["CPU"]
        environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        # Without the GPUs: those of the twin are none.
        environment[ROOM] = f"CPU={twin.room(made)['CPU']:g}"
    command.append(f"--num-cpus={logical_cpus}")
    with (folder / "start.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{web}" if dashboard else None
    try:
        _wait_until_up(process, gcs, url, credentials[_TOKEN], folder / "start.log")
        yield LocalCluster(
            address=f"127.0.0.1:{gcs}",
            dashboard=url,
            environment=credentials | _LOCAL | {_ADDRESS: f"127.0.0.1:{gcs}"},
            process=process.pid,
        )
    finally:
        _end(process)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def using(cluster: LocalCluster) -> Iterator[None]:
    """Connect this process to ``cluster``."""
    with _environment(dict(cluster.environment)), connect():
        yield


def own() -> bool:
    """Whether :func:`connect` starts a cluster of its own."""
    return not os.environ.get(_ADDRESS)


def cpus() -> int:
    """Shards worth making at once on the connected cluster: real cores where it is this machine, else its CPUs."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return os.cpu_count() or 1
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def room(resource: str = "CPU") -> float:
    """CPUs, or GPUs, that the connected cluster has, or can grow to by ``MOSAR_ROOM``, as in ``CPU=130,GPU=8``.

    Ray does not tell jobs how far its autoscaler may go; so the head's environment does.

    Raises:
        ConfigError: ``MOSAR_ROOM`` cannot be read.
    """
    import ray

    return max(float(ray.cluster_resources().get(resource, 0)), growth().get(resource, 0.0))


def growth() -> dict[str, float]:
    """What ``MOSAR_ROOM`` says."""
    given = os.environ.get(ROOM, "")
    try:
        return {name: float(most) for name, most in (pair.split("=") for pair in given.split(",") if pair)}
    except ValueError as error:
        raise ConfigError(f"{ROOM}: got {given!r}, expected what the cluster can grow to, as CPU=130,GPU=8") from error


def _credentials() -> dict[str, str]:
    if os.environ.get(_MODE) == "token" and os.environ.get(_TOKEN):
        return {_MODE: "token", _TOKEN: os.environ[_TOKEN]}
    return {_MODE: "token", _TOKEN: secrets.token_hex(32)}


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Change this process's environment for a while, also for a Ray that is imported already."""
    before = {key: os.environ.get(key) for key in changes}
    os.environ.update(changes)
    _reload_ray_settings()
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
        _reload_ray_settings()


def _reload_ray_settings() -> None:
    """Ray reads these settings once, on import; it offers no public way to read them again."""
    if "ray" in sys.modules:
        from ray._private import ray_constants
        from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]
        from ray._raylet import Config as RayConfig  # type: ignore[attr-defined]

        RayConfig.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
        ray_constants.ENABLE_RAY_CLUSTER = os.environ.get("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") != "0"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


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
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
        return answer.status == 200
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the leader, which takes its node down in order; then make sure of all that it started, in any group."""
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
    while living(started) and time.monotonic() < until:  # the killed need a moment to end
        time.sleep(0.02)


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
