"""Persistent storage; see :mod:`mosar.platform.storage.filesystem`."""

from mosar.platform.storage.filesystem import (
    append_bytes,
    exists,
    files,
    inode,
    is_uri,
    join,
    names,
    open_read,
    read_bytes,
    read_json,
    read_ranges,
    remove,
    root,
    size,
    write_bytes,
    write_json,
)

__all__ = [
    "append_bytes",
    "exists",
    "files",
    "inode",
    "is_uri",
    "join",
    "names",
    "open_read",
    "read_bytes",
    "read_json",
    "read_ranges",
    "remove",
    "root",
    "size",
    "write_bytes",
    "write_json",
]
