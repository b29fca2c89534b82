"""Replace a local file whole: a kill or a full disk leaves the old file or none, never a part of the new one."""

import errno
import os
from pathlib import Path

from mosar.errors import ConfigError
from mosar.platform.storage.filesystem import write_bytes


def check_writable(path: Path) -> None:
    """Notice before work starts that a file cannot be written.

    Raises:
        ConfigError: the path is a folder, or lies in something that is not a folder or cannot be written to.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder, expected the name of a file; give {path / f'name{path.suffix}'}")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        reason = os.strerror(errno.EACCES if above.is_dir() else errno.ENOTDIR)
        raise ConfigError(f"{path}: {reason}; give a file in a writable folder")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Makes missing folders.

    Raises:
        ConfigError: the file cannot be written.
    """
    check_writable(path)
    try:
        write_bytes(str(path), content)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a file in a writable folder on a disk with space") from error
