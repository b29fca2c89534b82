"""Writers of an avatar's folder are killed (-9) at many moments; what they leave must be the files of one of them.

python jobs/drill.py what=replaced_folder
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar.errors import ConfigError
from mosar.platform.storage import replace_folder

_FILES, _BYTES = 6, 50_000
_WRITER = """
import os
import sys
from pathlib import Path
from mosar.platform.storage import replace_folder
place, count, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    while not child:
        replace_folder(place, {f"maps/{i}.png": line[:1].encode() * size for i in range(count)})
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@dataclass(frozen=True)
class Config:
    """Attributes:

    kills: number of writers that are killed.
    seed: seed of the moments.
    folder: where avatars are written; a temporary folder if empty.
    """

    kills: int = 60
    seed: int = 0
    folder: str = ""

    def __post_init__(self) -> None:
        if self.kills < 1:
            raise ConfigError(f"kills: got {self.kills}, expected 1 or more")


def run(config: Config) -> dict[str, Any]:
    """Number of kills, of looks at the folder, of those that found it whole, and of folders left beside it."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(config.folder or Path(temporary) / "folder")
        looks, whole = _kill(config, place)
        replace_folder(place, {"last": b"x"})
        beside = [p for p in place.parent.iterdir() if p.name.startswith(f".{place.name}.partial")]
    return {"kills": config.kills, "looks": looks, "whole": whole, "left_beside": len(beside)}


def short(metrics: dict[str, Any]) -> list[str]:
    """Requirements that are not met."""
    found = [f"{metrics['left_beside']} folders were left beside"] if metrics["left_beside"] else []
    if metrics["whole"] < metrics["looks"]:
        found.append(f"{metrics['looks'] - metrics['whole']} folders were mixed")
    return found


def _kill(config: Config, place: Path) -> tuple[int, int]:
    moments = random.Random(config.seed)  # noqa: S311 - not for cryptography
    command = [sys.executable, "-c", _WRITER, str(place), str(_FILES), str(_BYTES)]
    began = time.monotonic()
    replace_folder(place, {f"maps/{i}.png": b"c" * _BYTES for i in range(_FILES)})
    longest = 3 * (time.monotonic() - began)
    looks = whole = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        assert nursery.stdin
        assert nursery.stdout
        nursery.stdout.readline()
        for turn in range(config.kills):
            nursery.stdin.write("ab"[turn % 2] + "\n")
            nursery.stdin.flush()
            writer = int(nursery.stdout.readline())
            time.sleep(moments.uniform(0.0, longest))
            os.kill(writer, signal.SIGKILL)
            nursery.stdout.readline()
            if place.exists():
                contents = [path.read_bytes() for path in sorted((place / "maps").iterdir())]
                looks += 1
                whole += len(contents) == _FILES and len(set(contents)) == 1 and len(contents[0]) == _BYTES
        nursery.stdin.close()
    return looks, whole
