"""A cluster on this machine requires its token, never reveals it, and listens on the loopback interface only."""

import contextlib
from pathlib import Path

import httpx

from mosar.platform.cluster import LocalCluster


def descendants(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def arguments(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def listening() -> dict[str, str]:
    """Inode -> address of the machine's listening TCP sockets, in the kernel's hexadecimal form."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[9]: row[1].split(":")[0] for row in rows if row[3] == "0A"}


def test_the_dashboard_and_the_jobs_api_require_the_token(shared_cluster: LocalCluster) -> None:
    url = f"{shared_cluster.dashboard}/api/jobs/"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, headers={"Authorization": "Bearer wrong"}).status_code in {401, 403}
    token = shared_cluster.environment["RAY_AUTH_TOKEN"]
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_the_token_is_in_no_arguments_and_no_log(shared_cluster: LocalCluster) -> None:
    token = shared_cluster.environment["RAY_AUTH_TOKEN"]
    assert len(token) >= 32
    assert not [pid for pid in descendants(shared_cluster.process) if any(token in word for word in arguments(pid))]
    (folder,) = (w.split("=", 1)[1] for w in arguments(shared_cluster.process) if w.startswith("--temp-dir="))
    files = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.name.startswith("raylet") for path in files)
    assert not [path for path in files if token.encode() in path.read_bytes()]


def test_every_port_is_on_the_loopback_interface(shared_cluster: LocalCluster) -> None:
    sockets, found = listening(), set()
    for pid in descendants(shared_cluster.process):
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    found.add(sockets.get(str(link.readlink()).removeprefix("socket:[").removesuffix("]"), ""))
    assert found - {""}
    loopback = {"0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F"}
    assert found - {""} <= loopback
