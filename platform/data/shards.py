"""Shards: WebDataset tars, written reproducibly and read by byte range with every sample checked.

A sample is a sequence of tar members ``<key>.<member>``: images, arrays or JSON, never pickle, which can run code.
"""

import io
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mosar.errors import DataError
from mosar.platform import storage
from mosar.platform.storage import digest

ENCODINGS = ("jpg", "png", "npy", "json")
"""Allowed suffixes of member names."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MEMBER = re.compile(r"[a-z0-9_]{1,24}\.([a-z]+)")
_BLOCK = 512


@dataclass(frozen=True)
class Record:
    """One sample as its producer returns it."""

    key: str
    split: str
    subject: str
    members: Mapping[str, bytes]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extent:
    """A sample's place in its shard; ``crc32`` is over the ``size`` bytes from ``offset``, tar headers included."""

    key: str
    offset: int
    size: int
    crc32: int


def pack(records: Iterable[Record], where: str) -> tuple[bytes, list[Extent]]:
    """Pack ``records`` in order into a tar. Returns its bytes, which the records determine, and the extents.

    Raises:
        ValueError: a key is invalid or occurs twice, or a record has no members.
        DataError: a member would be refused on reading.
    """
    import webdataset

    buffer = io.BytesIO()
    places: dict[str, tuple[int, int]] = {}
    with webdataset.TarWriter(buffer, encoder=False, mtime=0, user="", group="") as tar:
        for record in records:
            _check_record(record, where)
            if record.key in places:
                raise ValueError(f"{where}: key {record.key!r} occurs twice")
            start = tar.tarstream.offset
            tar.write({"__key__": record.key, **record.members})
            places[record.key] = (start, tar.tarstream.offset - start)
    content = buffer.getvalue()
    view = memoryview(content)
    return content, [Extent(k, at, size, zlib.crc32(view[at : at + size])) for k, (at, size) in places.items()]


def read_samples(location: str, extents: Iterable[Extent]) -> Iterator[dict[str, bytes]]:
    """Yield the members of each sample, in the order given (ascending offsets read fastest).

    Raises:
        DataError: the shard is missing, truncated or altered, or a member is refused; names the shard and the key.
    """
    extents = list(extents)
    contents = storage.read_ranges(location, [(extent.offset, extent.size) for extent in extents])
    for extent, content in zip(extents, contents, strict=True):
        if len(content) != extent.size:
            raise DataError(f"{location}: truncated at sample {extent.key!r}; write the data set again")
        if zlib.crc32(content) != extent.crc32:
            raise DataError(f"{location}: sample {extent.key!r} was altered (checksum); write the data set again")
        yield unpack(content, extent.key, location)


def unpack(content: bytes, key: str, where: str) -> dict[str, bytes]:
    """Members of one sample from its tar blocks (ustar, regular files only).

    Raises:
        DataError: a damaged header, a link or device, a member of another key or past the end, or a refused suffix.
    """
    members: dict[str, bytes] = {}
    position = 0
    while position < len(content):
        header = content[position : position + _BLOCK]
        position += _BLOCK
        try:
            name = header[:100].rstrip(b"\0").decode("ascii")
            size = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
            checksum = int(header[148:156].rstrip(b"\0 "), 8)
        except ValueError as error:
            raise DataError(f"{where}: sample {key!r} has a damaged tar header") from error
        if sum(header) - sum(header[148:156]) + 8 * ord(" ") != checksum or position + size > len(content):
            raise DataError(f"{where}: sample {key!r} has a damaged tar header")
        if header[156:157] not in {b"0", b"\0"}:
            raise DataError(f"{where}: sample {key!r}: {name!r} is not a regular file")
        member = name.removeprefix(f"{key}.")
        if member == name:
            raise DataError(f"{where}: sample {key!r}: {name!r} belongs to another sample or folder")
        _check_member(member, f"{where}: sample {key!r}")
        if member in members:
            raise DataError(f"{where}: sample {key!r} has member {member!r} twice")
        members[member] = content[position : position + size]
        position += -(-size // _BLOCK) * _BLOCK
    return members


def verify(location: str, sha256: str) -> None:
    """Raises DataError if the sha256 of a whole shard is not the recorded one."""
    if digest.of_file(location) != sha256:
        raise DataError(
            f"{location}: the shard was altered (its sha256 is not the manifest's); write the data set again"
        )


def _check_record(record: Record, where: str) -> None:
    if not _KEY.fullmatch(record.key):
        raise ValueError(f"{where}: key {record.key!r}: expected 1 to 64 of A-Z a-z 0-9 _ -")
    if not record.members:
        raise ValueError(f"{where}: sample {record.key!r} has no members")
    for member in record.members:
        _check_member(member, f"{where}: sample {record.key!r}")


def _check_member(member: str, where: str) -> None:
    match = _MEMBER.fullmatch(member)
    if match is None or match[1] not in ENCODINGS:
        raise DataError(
            f"{where}: member {member!r} is refused; expected a plain name ending in {', '.join(ENCODINGS)}"
        )
