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
from mosar.platform.storage.local_file import check_writable, replace_file

__all__ = [
    "append_bytes",
    "check_writable",
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
    "replace_file",
    "replace_folder",
    "root",
    "size",
    "write_bytes",
    "write_json",
]
