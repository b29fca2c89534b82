"""Persistent storage; see :mod:`mosar.platform.storage.filesystem`."""

from mosar.platform.storage.filesystem import (
    append_bytes,
    exists,
    files,
    fingerprints,
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
from mosar.platform.storage.folder import replace_folder

__all__ = [
    "append_bytes",
    "exists",
    "files",
    "fingerprints",
    "inode",
    "is_uri",
    "join",
    "names",
    "open_read",
    "read_bytes",
    "read_json",
    "read_ranges",
    "remove",
    "replace_folder",
    "root",
    "size",
    "write_bytes",
    "write_json",
]
