"""Replace a local folder whole: no kill and no full disk ever leaves files of two writers side by side."""

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from mosar.errors import ConfigError

_AT_FDCWD, _EXCHANGE = -100, 2  # of renameat2(2)


def replace_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files (relative path -> content) into a folder, which is made if needed, all or none.

    They are written into a folder beside it, which then takes its place. Other files of the old folder come along.

    Raises:
        ConfigError: the folder cannot be written to.
    """
    place = Path(os.path.realpath(folder))  # a link stays and its folder is replaced
    try:
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if place.exists() and (Path.cwd() == place or place in Path.cwd().parents or place.is_mount()):
            raise ConfigError(f"{folder}: the current folder or a mount cannot be replaced; give a folder in it")
        place.parent.mkdir(parents=True, exist_ok=True)
        with _beside(place) as fresh:
            for name, content in files.items():
                _write(fresh / name, content)
            if place.exists():
                _bring(place, fresh, set(files))
            _sync(fresh)
            _take_place(fresh, place)
            _sync(place.parent)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}; give a writable folder on a disk with space") from error


@contextlib.contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A locked new folder beside ``place``; what is there at the end is removed, and what killed processes left."""
    prefix = f".{place.name}.partial-"
    for left in place.parent.glob(f"{glob.escape(prefix)}*"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left)
    fresh = place.parent / f"{prefix}{uuid.uuid4().hex}"
    fresh.mkdir()
    try:
        with _locked(fresh):
            yield fresh
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, which ends with the process.

    Raises:
        OSError: another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _bring(old: Path, fresh: Path, made: set[str]) -> None:
    """Link (or copy) the other files of a folder into the fresh one."""
    for source in sorted(old.rglob("*")):
        name = source.relative_to(old)
        if str(name) in made:
            continue
        if source.is_dir() and not source.is_symlink():
            (fresh / name).mkdir(parents=True, exist_ok=True)
            continue
        try:
            os.link(source, fresh / name, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, fresh / name, follow_symlinks=False)


def _take_place(fresh: Path, place: Path) -> None:
    """Put ``fresh`` where ``place`` is, in one step, and the old folder where ``fresh`` was."""
    if not place.exists():
        fresh.rename(place)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        names = os.fsencode(fresh), os.fsencode(place)
        if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    # A file system that cannot exchange two folders: for a moment there is none.
    aside = fresh.with_name(f"{fresh.name}-old")
    place.rename(aside)
    fresh.rename(place)
    shutil.rmtree(aside)


def _sync(folder: Path) -> None:
    """Make a folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
