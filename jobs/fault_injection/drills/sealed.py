"""Command line, shard making and endpoint in a network namespace whose only way out counts packets: none may leave.

python jobs/drill.py what=sealed bundle=demo storage=/abs/storage

The namespace has loopback and a pair of virtual interfaces with a default route. A look-up of a name, a report of use
or a download would put packets on it; that the counter sees such packets is checked first. Needs Linux, ``unshare``
(unprivileged user namespaces) and ``ip``.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar.errors import ConfigError, RunError
from mosar.jobs import demo
from mosar.platform.cluster import free_ports

JOBS = Path(__file__).resolve().parents[2]
_WAY_OUT, _OTHER_END = "out0", "out1"
_SET_UP = (
    "link set lo up",
    f"link add {_WAY_OUT} type veth peer name {_OTHER_END}",
    f"link set {_WAY_OUT} addrgenmode none",  # no packets of the kernel's own
    f"link set {_OTHER_END} addrgenmode none",
    f"addr add 10.99.0.2/24 dev {_WAY_OUT}",
    f"link set {_WAY_OUT} up",
    f"link set {_OTHER_END} up",
    f"neigh add 10.99.0.1 lladdr 02:00:00:00:00:01 dev {_WAY_OUT}",  # no search for the router, which repeats itself
    f"route add default via 10.99.0.1 dev {_WAY_OUT}",
)
_CALL = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))"


@dataclass(frozen=True)
class Config:
    """Attributes:

    what_runs: what is run: some of reconstruct, make_shards and serve.
    bundle: name or location of the bundle.
    storage: root of the bundles; default: MOSAR_STORAGE, else ~/.mosar.
    photo: an image file; scikit-image's astronaut if empty.
    """

    what_runs: tuple[str, ...] = ("reconstruct", "make_shards", "serve")
    bundle: str = "released"
    storage: str | None = None
    photo: str = ""

    def __post_init__(self) -> None:
        if unknown := set(self.what_runs) - set(_RUNS):
            raise ConfigError(f"what_runs: got {', '.join(sorted(unknown))}, expected some of {', '.join(_RUNS)}")
        if lacking := [name for name in ("unshare", "ip") if not shutil.which(name)]:
            raise ConfigError(f"the drill needs {' and '.join(lacking)}: apt-get install util-linux iproute2")


def run(config: Config) -> dict[str, Any]:
    """Packets that left while each of the programs ran, and those of a test call."""
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        photo.write_bytes(demo.photograph(config.photo))
        words = [folder, config.bundle, config.storage or "", *config.what_runs]
        command = ["unshare", "--user", "--map-root-user", "--net", sys.executable, str(Path(__file__)), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    if done.returncode:
        raise RunError(f"the namespace failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def short(metrics: dict[str, Any]) -> list[str]:
    """Requirements that are not met."""
    found = [] if metrics["test_call"] else ["the counter does not see a call to the outside"]
    return found + [f"{name}: {n} packets left" for name, n in metrics.items() if name != "test_call" and n]


def _packets() -> int:
    """Packets sent on the way out."""
    lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    values = next(line.split(":")[1].split() for line in lines if line.strip().startswith(f"{_WAY_OUT}:"))
    return int(values[9])


def _inside(folder: Path, bundle: str, storage: str, names: Sequence[str]) -> None:
    for line in _SET_UP:
        subprocess.run(["ip", *line.split()], check=True)
    before = _packets()
    subprocess.run([sys.executable, "-c", _CALL], check=True)
    counts, last = {"test_call": _packets() - before}, _packets()
    for name in names:
        _RUNS[name](folder, bundle, storage)
        counts[name], last = _packets() - last, _packets()
    print(json.dumps(counts))


def _job(*words: str) -> None:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-1500:]}")


def _reconstruct(folder: Path, bundle: str, storage: str) -> None:
    place = ["--storage", storage] if storage else []
    words = ["reconstruct", str(folder / "photo.png"), "-o", str(folder / "avatar"), "--bundle", bundle, *place]
    _job("-m", "mosar.jobs.cli", *words)


def _make_shards(folder: Path, bundle: str, storage: str) -> None:
    (folder / "portraits").mkdir()
    shutil.copy(folder / "photo.png", folder / "portraits")
    words = ["source=photographs", f"folder={folder / 'portraits'}", "preset=tiny", f"storage={folder / 'storage'}"]
    _job(str(JOBS / "make_shards.py"), *words)


def _serve(folder: Path, bundle: str, storage: str) -> None:
    (port,) = free_ports(1)
    words = [f"bundle={bundle}", f"serving.port={port}", *([f"storage={storage}"] if storage else [])]
    with demo.serving(words, dict(os.environ), folder / "serve.log"):
        demo.post(f"http://127.0.0.1:{port}/v1/avatars", (folder / "photo.png").read_bytes())


_RUNS: dict[str, Callable[[Path, str, str], None]] = {
    "reconstruct": _reconstruct,
    "make_shards": _make_shards,
    "serve": _serve,
}

if __name__ == "__main__":
    _inside(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
