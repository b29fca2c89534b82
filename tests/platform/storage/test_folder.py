"""A folder that is replaced holds the files of one writer, whole, whatever happens meanwhile."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mosar.errors import ConfigError
from mosar.jobs.fault_injection.drills import replaced_folder
from mosar.platform.storage import folder as folders
from mosar.platform.storage import replace_folder


def files(letter: bytes) -> dict[str, bytes]:
    return {"maps/a.png": letter * 1000, "avatar.json": letter}


def content(place: Path) -> dict[str, bytes]:
    return {p.relative_to(place).as_posix(): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def test_an_older_folder_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    place = tmp_path / "new" / "folder"
    replace_folder(place, files(b"1") | {"old.png": b"1"})
    (place / "notes").mkdir()
    (place / "notes" / "mine.txt").write_text("mine")
    replace_folder(place, files(b"2"))
    assert content(place) == files(b"2") | {"old.png": b"1", "notes/mine.txt": b"mine"}
    assert [p.name for p in place.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("supported", [True, False])
def test_without_an_exchange_of_folders_it_works_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    if not supported:
        monkeypatch.setattr(folders, "_EXCHANGE", 1 << 20)  # an unknown flag: EINVAL, as file systems without it say
    replace_folder(tmp_path / "a", files(b"1"))
    replace_folder(tmp_path / "a", files(b"2"))
    assert content(tmp_path / "a") == files(b"2")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    replace_folder(tmp_path / "link", files(b"1"))
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == files(b"1")


def test_what_cannot_be_written_leaves_the_older_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "folder"
    replace_folder(place, files(b"1"))
    code = "import sys; from pathlib import Path; from mosar.platform.storage import replace_folder\n"
    code += f"replace_folder(Path({str(place)!r}), {{'maps/a.png': b'2', 'avatar.json': bytes(100_000)}})"

    def little() -> None:  # like a full disk: no file may grow beyond this
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    done = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False, preexec_fn=little
    )
    assert "ConfigError" in done.stderr
    assert "give a writable folder on a disk with space" in done.stderr
    assert content(place) == files(b"1")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="file: Not a directory"):
        replace_folder(tmp_path / "file", files(b"2"))
    monkeypatch.chdir(place)
    with pytest.raises(ConfigError, match="the current folder"):
        replace_folder(Path(), files(b"2"))


def test_killed_writers_never_mix_their_files(tmp_path: Path) -> None:
    """The drill kills 60."""
    metrics = replaced_folder.run(replaced_folder.Config(kills=8, folder=str(tmp_path / "folder")))
    assert metrics["kills"] == 8
    assert metrics["whole"] == metrics["looks"] > 0
    assert metrics["left_beside"] == 0
    assert replaced_folder.short(metrics) == []
