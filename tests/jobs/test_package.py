"""The code that a submission uploads: by jobs/package.py, and by Ray's own packing of the folder."""

import os
import re
import socket
import subprocess
import zipfile
from pathlib import Path

import pytest

from mosar.errors import ConfigError
from mosar.jobs import package
from mosar.platform.runs import run

ROOT = Path(__file__).resolve().parents[2]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with a socket, a pipe, and links in circles, that neither git nor a reader may fall over."""
    folder = tmp_path / "clone"
    (folder / "mosar").mkdir(parents=True)
    (folder / "mosar" / "a.py").write_text("a = 1\n")
    (folder / ".gitignore").write_text("/out/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / "mosar" / "new.py").write_text("b = 2\n")
    (folder / "out").mkdir()
    (folder / "out" / "big").write_bytes(b"0" * 1000)
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to(folder)
    (folder / "self").symlink_to("self")
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(folder)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        yield folder


def test_the_package_holds_the_files_as_they_are_and_the_revision(clone: Path, tmp_path: Path) -> None:
    package.pack(clone, tmp_path / "code.zip")
    with zipfile.ZipFile(tmp_path / "code.zip") as archive:
        assert sorted(archive.namelist()) == [".gitignore", "REVISION", "mosar/a.py", "mosar/new.py"]
        archive.extractall(tmp_path / "there")
    head = git(clone, "rev-parse", "HEAD").strip()
    assert re.fullmatch(rf"{head}\+?", run.revision(tmp_path / "there"))
    before = (tmp_path / "code.zip").read_bytes()
    package.pack(clone, tmp_path / "code.zip")
    assert (tmp_path / "code.zip").read_bytes() == before
    (clone / "mosar" / "a.py").write_text("a = 3\n")
    package.pack(clone, tmp_path / "code.zip")
    with zipfile.ZipFile(tmp_path / "code.zip") as archive:
        assert archive.read("REVISION").decode() == head + "+"
        assert archive.read("mosar/a.py") == b"a = 3\n"


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--working-dir"):
        package.pack(tmp_path, tmp_path / "code.zip")
    assert list(tmp_path.iterdir()) == []


def test_ray_s_own_packing_holds_every_tracked_file(tmp_path: Path) -> None:
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = git(ROOT, "ls-files", "-z").split("\0")
    tracked = {name for name in listed if name and (ROOT / name).is_file()}
    excludes = [*get_runtime_env_default_excludes(), ".types"]
    create_package(str(ROOT), tmp_path / "ray.zip", include_gitignore=True, excludes=excludes)
    with zipfile.ZipFile(tmp_path / "ray.zip") as archive:
        assert tracked <= set(archive.namelist())
