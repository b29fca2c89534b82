"""Run the commands of README.md from top to bottom, as a new user would, in a copy of the clone with an empty home.

python jobs/walkthrough.py                # about half an hour on two cores
python jobs/walkthrough.py cluster=true   # also the block that ends with `ray stop`

Every command must succeed. Only what a reader would replace is replaced: the photograph and the folder of portraits.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mosar.errors import ConfigError, RunError
from mosar.jobs import demo, hydra_main

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Walkthrough:
    """Attributes:

    portrait: photograph with one face; scikit-image's astronaut if empty.
    cluster: also run the block with ``ray start``. It ends with ``ray stop``, which ends every Ray of this user.
    """

    portrait: str = ""
    cluster: bool = False

    def __post_init__(self) -> None:
        if self.portrait and not Path(self.portrait).is_file():
            raise ConfigError(f"portrait: {self.portrait} is not a file")


@dataclass(frozen=True)
class Block:
    """A fenced block of a text: its language, empty for a shell, and its lines."""

    language: str
    lines: tuple[str, ...]

    @property
    def commands(self) -> list[list[str]]:
        """Words of each line that is not empty, without comments."""
        import shlex

        return [words for line in self.lines if (words := shlex.split(line, comments=True))]


def blocks(text: str) -> list[Block]:
    """Fenced blocks of a Markdown text that a reader can run, in order."""
    return [Block(m[1], tuple(m[2].splitlines())) for m in _FENCE.finditer(text) if m[1] in {"", "python"}]


def main(config: Walkthrough) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="mosar-walkthrough-") as folder:
        home, clone = Path(folder) / "home", Path(folder) / "clone"
        _copy(clone)
        data = demo.photograph(config.portrait)
        (home / "data" / "portraits").mkdir(parents=True)
        names = "portrait.jpg", "front.jpg", "side.jpg"  # any name will do: what a file is, its content says
        for place in (*(clone / name for name in names), home / "data" / "portraits" / "portrait.png"):
            place.write_bytes(data)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "MOSAR_"))} | {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        }
        for block in blocks(text):
            if not config.cluster and any(words[:2] == ["ray", "start"] for words in block.commands):
                continue
            demo.headline(next(iter(block.lines)))
            if block.language == "python":
                command = [sys.executable, "-c", "\n".join(block.lines)]
            else:
                command = ["bash", "-c", script(block, home / "data")]
            _run(command, clone, environment)
    print("every command of README.md succeeded")


def script(block: Block, data: Path) -> str:
    """The block as a script that ends at the first command that fails; an endpoint is served until its end.

    This program's own environment stands for the one that ``make`` installs, and ``data`` for ``/data``.
    """
    lines: Sequence[str] = [line.replace("/data/", f"{data}/") for line in block.lines]
    done = ["set -euo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]
    for line in lines:
        if line.startswith(("make test", "source .venv")):
            continue
        if line.startswith("make demo"):
            done.append("python jobs/demo.py")
        elif line.startswith("python jobs/serve.py"):
            done.append(f"{line.partition('#')[0]} &")
            done.append(
                "until curl -sf http://127.0.0.1:8000/healthz > /dev/null; do jobs %1 > /dev/null; sleep 1; done"
            )
        else:
            done.append(line.replace("curl ", "curl --fail "))
    return "\n".join(done)


def _copy(clone: Path) -> None:
    """Copy the files that git knows, as a fresh clone has them."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, clone / name)


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    try:
        code = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    if code:
        raise RunError(f"exit code {code} of:\n{command[-1]}")


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Walkthrough, "walkthrough"))
