"""Persistent storage: an absolute folder or an fsspec URI, and the operations that the project needs on it.

A location is a string: an absolute path, or a URI such as ``s3://bucket/mosar``. Writes are atomic: a reader sees the
old content or the new, never a part. A file system renames a temporary file; an object store replaces whole objects.
"""

import bisect
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from mosar.errors import ConfigError, DataError

_GAP_BYTES = 16 << 10
"""Ranges of an object that are at most this far apart are fetched with one request."""

_CHUNK_BYTES = 32 << 20
"""Ranges of an object are fetched together until they add up to this many bytes."""


def root(storage: str | None = None) -> str:
    """The storage root: ``storage``, else ``MOSAR_STORAGE``, else ``~/.mosar``.

    Raises:
        ConfigError: the path is relative. A submitted job runs in a temporary copy of its folder.
    """
    given = storage or os.environ.get("MOSAR_STORAGE") or "~/.mosar"
    if is_uri(given):
        return given.rstrip("/")
    path = Path(given).expanduser()
    if not path.is_absolute():
        raise ConfigError(f"storage: got the relative path {given!r}, expected an absolute path or a URI (s3://...)")
    return str(path)


def is_uri(location: str) -> bool:
    return "://" in location


def join(base: str, *parts: str) -> str:
    return "/".join([base.rstrip("/"), *parts])


def exists(location: str) -> bool:
    if not is_uri(location):
        return Path(location).exists()
    fs, path = _filesystem(location)
    return bool(fs.exists(path))


def names(location: str) -> list[str]:
    """Sorted names in a folder, without hidden (temporary) files; empty if there is no such folder."""
    if not is_uri(location):
        folder = Path(location)
        found = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    else:
        fs, path = _filesystem(location)
        found = [p.rstrip("/").rsplit("/", 1)[-1] for p in fs.ls(path, detail=False)] if fs.exists(path) else []
    return sorted(name for name in found if not name.startswith("."))


def files(location: str) -> list[str]:
    """Sorted relative paths of all files at any depth below a folder, without hidden files."""
    if not is_uri(location):
        folder = Path(location)
        found = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    else:
        fs, path = _filesystem(location)
        found = [p.removeprefix(path).lstrip("/") for p in fs.find(path)]
    return sorted(name for name in found if not _hidden(name))


def fingerprints(location: str) -> dict[str, str]:
    """Relative path of each file below a folder, as in :func:`files` -> its size and its time or ETag.

    A file that was edited or replaced has another fingerprint; no content is read.
    """
    if not is_uri(location):
        stats = {name: (Path(location) / name).stat() for name in files(location)}
        return {name: f"{stat.st_size}:{stat.st_mtime_ns}" for name, stat in stats.items()}
    fs, path = _filesystem(location)
    found = {p.removeprefix(path).lstrip("/"): info for p, info in fs.find(path, detail=True).items()}
    return {name: f"{found[name]['size']}:{_version(found[name])}" for name in sorted(found) if not _hidden(name)}


def _version(info: Mapping[str, Any]) -> str:
    """What changes when a stored object does; file systems give it different names."""
    return next((str(info[key]) for key in ("ETag", "etag", "md5", "mtime", "LastModified") if info.get(key)), "")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def size(location: str) -> int:
    if not is_uri(location):
        return Path(location).stat().st_size
    fs, path = _filesystem(location)
    return int(fs.size(path))


def inode(location: str) -> int | None:
    """A number that changes when a file is replaced but not when it is appended to; None for a URI."""
    return None if is_uri(location) else Path(location).stat().st_ino


def open_read(location: str, *, scattered: bool = False) -> IO[bytes]:
    """Open a seekable binary file for reading. ``scattered`` turns off the read-ahead of an object's bytes.

    Raises:
        DataError: there is no such file.
    """
    try:
        if not is_uri(location):
            return Path(location).open("rb")
        fs, path = _filesystem(location)
        return fs.open(path, "rb", **({"cache_type": "none"} if scattered else {}))
    except FileNotFoundError as error:
        raise DataError(f"{location}: there is no such file") from error


def read_ranges(location: str, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Yield the bytes of each (offset, size), in the order given; fewer bytes if the file ends earlier.

    Raises:
        DataError: there is no such file.
    """
    if is_uri(location):
        yield from _object_ranges(location, ranges)
        return
    with open_read(location) as file:
        for offset, size in ranges:
            file.seek(offset)
            yield file.read(size)


def read_bytes(location: str) -> bytes:
    with open_read(location) as file:
        return file.read()


def read_json(location: str) -> Any:
    """Raises DataError if the file is missing or is not JSON."""
    try:
        return json.loads(read_bytes(location))
    except ValueError as error:
        raise DataError(f"{location}: not JSON ({error})") from error


def write_bytes(location: str, content: bytes) -> None:
    """Write atomically and durably. Makes missing folders."""
    if is_uri(location):
        fs, key = _filesystem(location)
        fs.makedirs(key.rsplit("/", 1)[0], exist_ok=True)
        fs.pipe_file(key, content)
        return
    path = Path(location)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(location: str, value: Any) -> None:
    """Write as indented JSON with sorted keys, atomically."""
    write_bytes(location, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def append_bytes(location: str, content: bytes) -> None:
    """Append to a log. An object store has no append, so the whole object is written again."""
    if is_uri(location):
        before = read_bytes(location) if exists(location) else b""
        write_bytes(location, before + content)
        return
    path = Path(location)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(content)


def remove(location: str) -> None:
    """Remove a file or a whole folder, if it exists."""
    if is_uri(location):
        fs, key = _filesystem(location)
        if fs.exists(key):
            fs.rm(key, recursive=True)
        return
    path = Path(location)
    if path.is_dir():
        import shutil

        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _object_ranges(location: str, ranges: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    from fsspec.utils import merge_offset_ranges

    fs, path = _filesystem(location)
    for chunk in _chunks(ranges):
        offsets, ends = [offset for offset, _ in chunk], [offset + size for offset, size in chunk]
        paths, starts, stops = merge_offset_ranges([path] * len(chunk), offsets, ends, max_gap=_GAP_BYTES)
        blocks = fs.cat_ranges(paths, starts, stops, on_error="return")
        for number, block in enumerate(blocks):
            if isinstance(block, FileNotFoundError):
                raise DataError(f"{location}: there is no such file") from block
            if isinstance(block, BaseException):
                if starts[number] < fs.size(path):
                    raise block
                blocks[number] = b""  # Stores refuse a range that begins past the end.
        for offset, size in chunk:
            number = bisect.bisect_right(starts, offset) - 1
            first = offset - starts[number]
            yield blocks[number][first : first + size]


def _chunks(ranges: Iterable[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    chunk: list[tuple[int, int]] = []
    total = 0
    for offset, size in ranges:
        chunk.append((offset, size))
        total += size
        if total >= _CHUNK_BYTES:
            yield chunk
            chunk, total = [], 0
    if chunk:
        yield chunk


def _filesystem(uri: str) -> tuple[Any, str]:
    import fsspec

    # Listings are not cached, because other processes write here too.
    fs, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    return fs, path


def _sync_folder(folder: Path) -> None:
    """Make the renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
