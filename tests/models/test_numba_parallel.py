"""Compiled kernels on machines that cannot cache them, or whose processes all start at once."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNEL = """
import os, sys
{before}
sys.path.insert(0, {folder!r})
from kernel import twice
assert twice(21.0) == 42.0
"""


def module(folder: Path) -> None:
    folder.mkdir()
    (folder / "kernel.py").write_text(
        "from mosar.models.numba_parallel import compiled\n\n\n@compiled\ndef twice(x):\n    return 2 * x\n"
    )


def start(program: str, **changes: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"NUMBA_CACHE_DIR", "HOME", "XDG_CACHE_HOME"}}
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment | changes, stderr=subprocess.PIPE, text=True
    )


def test_a_read_only_installation_without_a_home() -> None:
    """Root may write anywhere, so the process gives up its rights once everything is imported."""
    before = "import mosar.models.numba_parallel, numba.core.caching, tempfile\nos.getuid() or os.setuid(65534)"
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders admit their owner alone
        module(Path(folder) / "code")
        (Path(folder) / "code").chmod(0o555)
        Path(folder).chmod(0o755)
        process = start(KERNEL.format(before=before, folder=f"{folder}/code"), HOME="/nonexistent")
        _, said = process.communicate(timeout=120)
        (Path(folder) / "code").chmod(0o755)
    assert process.returncode == 0, said


def test_processes_that_start_at_once_share_a_cold_cache_and_a_copy_of_the_code_uses_it(tmp_path: Path) -> None:
    """As do the workers of a job, and those of the next job, whose code lies elsewhere."""

    def run(folder: Path, count: int) -> dict[str, int]:
        program = KERNEL.format(before="", folder=str(folder))
        for process in [start(program, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(count)]:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
        return {str(path): path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nb?")}

    module(tmp_path / "code")
    found = run(tmp_path / "code", 2)
    assert found
    shutil.copytree(tmp_path / "code", tmp_path / "copy")
    assert run(tmp_path / "copy", 1) == found
    (tmp_path / "copy" / "kernel.py").write_text((tmp_path / "code" / "kernel.py").read_text() + "# edited\n")
    assert run(tmp_path / "copy", 1).keys() > found.keys()


def test_every_kernel_is_compiled_by_the_one_that_can_do_without_a_cache() -> None:
    for folder in ("mosar", "platform", "models", "datasets", "jobs"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "numba_parallel.py":
                assert not re.search(r"\bnjit\b|numba\.jit", path.read_text(encoding="utf-8")), path
