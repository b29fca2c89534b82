"""``make`` stops at once, with a sentence, where the pinned packages cannot be installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("pretend", "message"),
    [
        (
            "platform.system, platform.machine = lambda: 'Linux', lambda: 'aarch64'",
            "Linux on aarch64: mediapipe and embreex",
        ),
        ("platform.system, platform.machine = lambda: 'Darwin', lambda: 'x86_64'", "Darwin on x86_64: torch"),
        ("sys.version_info = (3, 14, 0)", "Python 3.14"),
        ("sys.version_info = (3, 10, 9)", "Python 3.10"),
    ],
)
def test_a_platform_without_wheels_is_one_sentence(pretend: str, message: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import platform, sys\n{pretend}\n$2"\n')
    python.chmod(0o755)
    command = ["make", "install", f"PYTHON={python}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    errors = [line for line in ended.stderr.splitlines() if not line.startswith("make")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ended = subprocess.run(
        ["make", "install", "PYTHON=python9.9"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "there is no python9.9" in ended.stderr
    assert not (tmp_path / ".venv").exists()
