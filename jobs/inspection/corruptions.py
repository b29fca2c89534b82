"""Inject faults into a copy of a data set, to test whether validation finds them: faults of storage and of writers.

A storage fault changes a file without changing the manifest. A writer's fault comes with a matching manifest, so that
checksums do not reveal it: only the content does.
"""

import dataclasses
import io
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mosar.datasets import schema
from mosar.platform.data import manifest, shards
from mosar.platform.data.manifest import Manifest
from mosar.platform.storage import digest

Members = list[tuple[str, bytes]]
"""Tar names and contents, in order; a name may occur twice."""


@dataclass(frozen=True)
class Injected:
    """Where a fault was injected: the shard's file and the sample's key, or ``first .. last`` for the whole shard."""

    shard: str
    key: str


@dataclass(frozen=True)
class Place:
    """A data set and the sample to damage: the middle one of a shard."""

    folder: Path
    found: Manifest
    number: int

    @property
    def row(self) -> manifest.ShardRow:
        return self.found.shards()[self.number]

    @property
    def path(self) -> Path:
        return self.folder / self.row.name

    @property
    def extents(self) -> list[shards.Extent]:
        return self.found.extents(self.number, range(self.row.samples))

    @property
    def victim(self) -> shards.Extent:
        return self.extents[self.row.samples // 2]

    @property
    def sample(self) -> Injected:
        return Injected(self.row.name, self.victim.key)

    @property
    def whole(self) -> Injected:
        return Injected(self.row.name, f"{self.extents[0].key} .. {self.extents[-1].key}")


def inject(name: str, folder: Path, shard: int = 0) -> Injected:
    """Inject the fault ``name`` of :data:`FAULTS` into a shard of the light stage data set in ``folder``."""
    return FAULTS[name](Place(folder, Manifest(str(folder)), shard))


def _flip_a_byte(at: Place) -> Injected:
    content = bytearray(at.path.read_bytes())
    content[at.victim.offset + at.victim.size // 2] ^= 0x10
    at.path.write_bytes(content)
    return at.sample


def _truncate(at: Place) -> Injected:
    at.path.write_bytes(at.path.read_bytes()[: at.extents[-1].offset + at.extents[-1].size // 2])
    return Injected(at.row.name, at.extents[-1].key)


def _remove_shard(at: Place) -> Injected:
    at.path.unlink()
    return at.whole


def _remove_row(at: Place) -> Injected:
    where = at.whole
    _change_rows(at.folder, lambda rows: [r for r in rows if r["name"] != where.shard])
    return where


def _wrong_digest(at: Place) -> Injected:
    _change_rows(at.folder, _edit(at.row.name, sha256="0" * 64))
    return at.whole


def _other_version(at: Place) -> Injected:
    _change_rows(at.folder, _edit(at.row.name, schema_version=schema.VERSION + 1))
    return at.whole


def _append_a_sample(at: Place) -> Injected:
    """Append a sample that the manifest does not list."""
    content = at.path.read_bytes()
    last = at.extents[-1]
    extra = content[last.offset : last.offset + last.size]
    at.path.write_bytes(content[: last.offset + last.size] + extra + b"\0" * 1024)
    return at.whole


def _duplicate_key(at: Place) -> Injected:
    key, first = at.victim.key, at.extents[0].key
    return _rewrite(at, lambda name: name.replace(f"{first}.", f"{key}.", 1), {}, also=first)


def _drop(member: str) -> Callable[[Place], Injected]:
    return lambda at: _rewrite(at, None, {member: None})


def _replace(stem: str, change: Callable[[Any], Any]) -> Callable[[Place], Injected]:
    """Decode a member, change its value, encode it again."""

    def damage(at: Place) -> Injected:
        (members,) = shards.read_samples(str(at.path), [at.victim])
        value = change(schema.decode_member(members, stem))
        return _rewrite(at, None, schema.encode({stem: value}))

    return damage


def _add(name: str, content: bytes) -> Callable[[Place], Injected]:
    """Add a tar member; ``{key}`` in the name stands for the sample's key."""
    return lambda at: _rewrite(at, None, {}, extra=(name.format(key=at.victim.key), content))


def _with_nan(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = np.array(array)
    array[len(array) // 2] = np.nan
    return array


def _far_off(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = np.array(array)
    array[np.flatnonzero(array[:, 2])[0], :2] = 1e5
    return array


FAULTS: Mapping[str, Callable[[Place], Injected]] = {
    "flipped byte": _flip_a_byte,
    "truncated tar": _truncate,
    "missing shard": _remove_shard,
    "samples without shard row": _remove_row,
    "wrong digest": _wrong_digest,
    "mixed schema versions": _other_version,
    "sample not listed": _append_a_sample,
    "duplicate key": _duplicate_key,
    "missing member": _drop("light.npy"),
    "missing detection": _drop("detected.npy"),
    "scores without a pose": _replace("pose", np.zeros_like),
    "unknown class": _replace("classes", lambda v: np.full_like(v, len(schema.CLASSES))),
    "wrong size": _replace("ao", lambda v: v[: len(v) // 2, : len(v) // 2]),
    "mask of another size": _replace("mask", lambda v: v[:-8]),
    "NaN mesh": _replace("mesh", _with_nan),
    "other topology": _replace("neutral", lambda v: v[:-1]),
    "landmark out of range": _replace("landmarks", _far_off),
    "infinite light": _replace("light", lambda v: v * np.float32(np.inf)),
    "pickle member": _add("{key}.extra.pkl", b"cos\nsystem\n(S'true'\ntR."),
    "path traversal": _add("../../{key}.mesh.npy", b"0"),
    "member twice": _add("{key}.light.npy", schema.npy_bytes(np.zeros((schema.SH, 3), np.float32))),
    "other head": _replace("capture", lambda v: {**v, "head_digest": "0" * 64}),
    "wrong split": _replace("capture", lambda v: {**v, "split": "nowhere"}),
}
"""Name of a fault -> function that injects it."""


def _rewrite(
    at: Place,
    rename: Callable[[str], str] | None,
    changes: Mapping[str, bytes | None],
    extra: tuple[str, bytes] | None = None,
    also: str | None = None,
) -> Injected:
    """Rewrite the shard with a matching manifest.

    The victim gets ``changes`` (member -> content, None removes it) and the member ``extra``. ``rename`` changes the
    tar names of the sample whose key is ``also``; in the table that sample gets the victim's key.
    """
    where, extents, row = at.sample, at.extents, at.row
    buffer = io.BytesIO()
    table = pq.read_table(at.folder / manifest.SAMPLES, use_threads=False)
    rows = table.to_pylist()
    own = {r["key"]: r for r in rows if r["shard"] == row.name}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for extent, members in zip(extents, shards.read_samples(str(at.path), extents), strict=True):
            named: Members = [(f"{extent.key}.{m}", content) for m, content in members.items()]
            if extent.key == where.key:
                kept = [(f"{extent.key}.{m}", changes.get(m, content)) for m, content in members.items()]
                named = [(name, content) for name, content in kept if content is not None]
                named += [extra] if extra else []
            record = own[extent.key]
            if rename and extent.key == also:
                named = [(rename(name), content) for name, content in named]
                record["key"] = where.key
            start = buffer.tell()
            for name, content in named:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            part = buffer.getbuffer()[start : buffer.tell()]
            record |= {"offset": start, "size": len(part), "crc32": zlib.crc32(part)}
            part.release()
    content = buffer.getvalue()
    at.path.write_bytes(content)
    changed = dataclasses.replace(row, bytes=len(content), sha256=digest.of_bytes(content))
    shard_rows = [changed if r.name == row.name else r for r in at.found.shards()]
    manifest.write(str(at.folder), shard_rows, [pa.Table.from_pylist(rows, schema=table.schema)], at.found.about)
    return where


def _change_rows(folder: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Edit the rows of ``shards.parquet``; the schema, with its metadata, stays."""
    path = folder / manifest.SHARDS
    table = pq.read_table(path, use_threads=False)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), path)


def _edit(name: str, **values: Any) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda rows: [{**row, **values} if row["name"] == name else row for row in rows]
