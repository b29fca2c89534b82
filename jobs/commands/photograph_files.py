"""The photographs that a command names by files, folders and patterns, and the folder of each one's avatar."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mosar.errors import ConfigError, PhotographError

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".jp2")
"""Of a folder, files with these endings are taken. A file that is named may have any."""


@dataclass(frozen=True)
class PhotographFile:
    """A photograph and the folder for its avatar."""

    path: Path
    avatar: Path


def find(given: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The photographs, each once, in the order given, and remarks on what was left out.

    Raises:
        PhotographError: there is no such file, or a folder or pattern has no photograph.
    """
    found: dict[Path, Path] = {}
    remarks: list[str] = []
    for name in given:
        paths, remark = _expand(name)
        remarks += [remark] if remark else []
        for path in paths:
            found.setdefault(path.resolve(), path)
    return list(found.values()), remarks


def with_folders(photographs: Sequence[Path], given: Sequence[str], output: Path) -> list[PhotographFile]:
    """One photograph that is named as a file has its avatar in ``output``; others have a folder each in it.

    Raises:
        ConfigError: two photographs would have the same folder, or a file is where a folder should be.
    """
    if len(given) == 1 and Path(given[0]).is_file():
        files = [PhotographFile(photographs[0], output)]
    else:
        files = [PhotographFile(path, output / path.stem) for path in photographs]
    owners: dict[Path, Path] = {}
    for file in files:
        other = owners.setdefault(file.avatar, file.path)
        if other != file.path:
            raise ConfigError(
                f"{other} and {file.path} would both be written to {file.avatar}; rename one of them, "
                "or give them to two commands with different -o"
            )
    for place in (output, *owners):
        if place.exists() and not place.is_dir():
            raise ConfigError(f"output: {place} is a file, expected a folder or a new name")
    return files


def _expand(name: str) -> tuple[list[Path], str]:
    path = Path(name)
    if path.is_file():
        return [path], ""
    if path.is_dir():
        return _in_folder(path)
    if not glob.has_magic(name):
        raise PhotographError(f"{name}: no such file; give an image file, a folder of them or a quoted pattern")
    # Unlike Path.glob it passes over hidden files. A quoted ~ was not replaced by the shell.
    found = glob.glob(str(path.expanduser()), recursive=True)  # noqa: PTH207
    matches = [Path(match) for match in sorted(found) if Path(match).is_file()]
    if not matches:
        raise PhotographError(f"{name}: no file has a name of this pattern; give an image file, a folder or a pattern")
    return matches, ""


def _in_folder(folder: Path) -> tuple[list[Path], str]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if path.suffix.lower() in ENDINGS]
    if not images:
        raise PhotographError(f"{folder}: the folder has no image ({', '.join(ENDINGS)}); its own folders do not count")
    left = len(files) - len(images)
    known = f"{folder}: {left} of {len(files)} files were left out, whose endings are none of {', '.join(ENDINGS)}"
    return images, known if left else ""
