"""Find the faults of a data set: in its two tables, its shards, their samples, and across samples."""

import json
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mosar.datasets import schema
from mosar.errors import DataError
from mosar.jobs.inspection.schema_version import make_again
from mosar.platform import storage
from mosar.platform.data import manifest, shards
from mosar.platform.data.shards import Extent
from mosar.platform.storage import digest

EVERY = "*"
"""Key of a fault of a shard without known samples."""

_COLUMNS = ["key", "shard", "offset", "size", "crc32", "split", "subject"]


@dataclass(frozen=True)
class Fault:
    """One fault. ``key``: the sample's key, ``first .. last`` for a shard, or ``*``; ``kind``: label to count by."""

    kind: str
    shard: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.shard}  {self.key}  {self.kind}: {self.message}"


@dataclass(frozen=True)
class Plan:
    """A shard to read: its manifest row, and its rows of the sample table (``first``, ``count``)."""

    location: str
    name: str
    split: str
    samples: int
    bytes: int
    sha256: str
    first: int
    count: int


Traits = tuple[tuple[str, str | int], ...]
"""Name and value of the properties of a sample that must not vary over a data set."""
Alike = dict[Traits, tuple[str, int]]
"""Samples of a shard by their traits: key of the first sample, and count."""


def check_tables(location: str) -> tuple[list[Fault], list[Plan]]:
    """Return the faults of the manifest's tables, and the shards that can be read further.

    Raises:
        DataError: the tables are missing or cannot be read.
    """
    shard_table, sample_table, about = _tables(location)
    rows = shard_table.to_pylist()
    named = {row["name"]: row for row in rows}
    runs = _runs(sample_table["shard"])
    keys = sample_table["key"]
    own: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for shard, first, count in runs:
        own[shard].append((first, count))

    def span(name: str) -> str:
        found = own.get(name)
        return f"{keys[found[0][0]]} .. {keys[sum(found[-1]) - 1]}" if found else EVERY

    faults = []
    for name, count in Counter(row["name"] for row in rows).items():
        if count > 1:
            faults.append(Fault("shard listed twice", name, span(name), f"{count} rows in {manifest.SHARDS}"))
    order = [name for name, _, _ in runs if name in named]
    plans = []
    for place, row in enumerate(rows):
        found = own.get(row["name"], [])
        held = sum(count for _, count in found)
        if held != row["samples"] or len(found) != 1:
            what = f"{held} rows in {len(found)} runs, expected {row['samples']} in one"
            faults.append(Fault("rows that do not fit", row["name"], span(row["name"]), what))
        elif order[place : place + 1] != [row["name"]]:
            faults.append(Fault("rows out of order", row["name"], span(row["name"]), "not in the order of the shards"))
        if len(found) == 1:
            fields = {k: row[k] for k in ("name", "split", "samples", "bytes", "sha256")}
            plans.append(Plan(location, **fields, first=found[0][0], count=held))
    for shard in (name for name in own if name not in named):
        faults.append(Fault("samples without a shard", shard, span(shard), f"{manifest.SHARDS} has no such shard"))
    for name in storage.names(location):
        if re.fullmatch(r"shard-\d+\.tar", name) and name not in named:
            faults.append(Fault("shard without a row", name, span(name), f"{manifest.SHARDS} has no such shard"))
    faults += _versions(rows, about, span, location)
    faults += _keys(sample_table)
    faults += _splits(sample_table, named)
    return faults, plans


def check_shard(plan: Plan) -> tuple[list[Fault], Alike]:
    """Return the faults of a shard and its samples, and the traits of its faultless samples."""
    extents = _extents(plan)
    span = f"{extents[0].key} .. {extents[-1].key}" if extents else EVERY
    where = storage.join(plan.location, plan.name)
    if not storage.exists(where):
        return [Fault("shard missing", plan.name, span, "the file does not exist; write the data set again")], {}
    content = storage.read_bytes(where)
    faults: list[Fault] = []
    alike: Alike = {}
    end = 0
    for extent in sorted(extents, key=lambda e: e.offset):
        if extent.offset > end:
            what = f"{extent.offset - end} bytes before this sample belong to no sample"
            faults.append(Fault("samples not listed", plan.name, extent.key, what))
        elif extent.offset < end:
            faults.append(Fault("samples overlap", plan.name, extent.key, f"begins {end - extent.offset} bytes early"))
        end = extent.offset + extent.size
        found = _check_sample(plan, extent, content)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            first, count = alike.get(found, (extent.key, 0))
            alike[found] = (first, count + 1)
    if any(content[end:]):
        what = f"{len(content) - end} bytes after the last sample belong to no sample"
        faults.append(Fault("samples not listed", plan.name, span, what))
    if len(content) != plan.bytes and not faults:
        faults.append(Fault("wrong size", plan.name, span, f"{len(content)} bytes, the manifest says {plan.bytes}"))
    if digest.of_bytes(content) != plan.sha256 and not faults:
        faults.append(Fault("wrong digest", plan.name, span, f"its sha256 is not the manifest's {plan.sha256[:12]}..."))
    return faults, alike


def check_together(shards_alike: Iterable[tuple[str, Alike]]) -> list[Fault]:
    """Report samples whose kind, size or head differs from most samples: the first of each in every shard."""
    found = [(name, traits, *who) for name, alike in shards_alike for traits, who in alike.items()]
    total: Counter[tuple[str, str | int]] = Counter()
    for _, traits, _, count in found:
        for trait in traits:
            total[trait] += count
    usual: dict[str, str | int] = {}
    for (name, value), _ in reversed(total.most_common()):
        usual[name] = value
    return [
        Fault("mixed samples", name, key, f"{trait} {value} in {count} of the shard, most samples have {usual[trait]}")
        for name, traits, key, count in found
        for trait, value in traits
        if value != usual[trait]
    ]


def _check_sample(plan: Plan, extent: Extent, content: bytes) -> Fault | Traits:
    part = content[extent.offset : extent.offset + extent.size]
    if len(part) < extent.size:
        what = f"ends after {len(part)} of {extent.size} bytes"
        return Fault("sample cut short", plan.name, extent.key, what)
    if zlib.crc32(part) != extent.crc32:
        return Fault("sample altered", plan.name, extent.key, "its checksum is not the manifest's")
    try:
        members = shards.unpack(part, extent.key, plan.name)
    except DataError as error:
        return Fault("member refused", plan.name, extent.key, str(error))
    try:
        schema.validate(members)
    except DataError as error:
        return Fault("sample not valid", plan.name, extent.key, str(error))
    capture = json.loads(members["capture.json"])
    if capture.get("split", plan.split) != plan.split:
        what = f"capture.json says {capture['split']}, the shard is {plan.split}"
        return Fault("wrong split", plan.name, extent.key, what)
    return _traits(members, capture)


def _traits(members: Mapping[str, bytes], capture: Mapping[str, Any]) -> Traits:
    kind = schema.kind_of(members)
    stage = kind == "lightstage"
    return (
        ("kind", kind),
        ("image size", int(json.loads(members["camera.json"])["size"])),
        ("map size", int(schema.decode_member(members, "ao").shape[0]) if stage else 0),
        ("vertices", int(schema.decode_member(members, "mesh").shape[0]) if stage else 0),
        ("head", str(capture.get("head_digest", ""))[:12]),
    )


def _tables(location: str) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    manifest.Manifest(location)  # raises DataError with advice if there is no manifest
    found = []
    for name in (manifest.SHARDS, manifest.SAMPLES):
        where = storage.join(location, name)
        try:
            with storage.open_read(where) as file:
                columns = _COLUMNS if name == manifest.SAMPLES else None
                found.append(pq.ParquetFile(file, pre_buffer=False).read(columns=columns, use_threads=False))
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(f"{where}: cannot be read ({error}); write the data set again") from error
    about = json.loads((found[0].schema.metadata or {}).get(b"mosar", b"{}"))
    if digest.of_file(storage.join(location, manifest.SAMPLES)) != about.get("samples_sha256"):
        where = storage.join(location, manifest.SAMPLES)
        raise DataError(
            f"{where}: was altered (its sha256 is not the one in {manifest.SHARDS}); write the data set again"
        )
    return found[0], found[1], about


def _runs(names: pa.ChunkedArray) -> list[tuple[str, int, int]]:
    """Return name, first row and length of each run of equal names."""
    if not len(names):
        return []
    codes = names.combine_chunks().dictionary_encode()
    index = codes.indices.to_numpy()
    starts = np.concatenate([[0], np.flatnonzero(np.diff(index)) + 1])
    ends = np.concatenate([starts[1:], [len(index)]])
    return [(codes.dictionary[index[a]].as_py(), int(a), int(b - a)) for a, b in zip(starts, ends, strict=True)]


def _versions(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], span: Any, location: str) -> Iterator[Fault]:
    command = make_again(location, about)
    for row in rows:
        for said, where in ((row["schema_version"], "its row"), (about.get("schema_version"), manifest.SHARDS)):
            if said != schema.VERSION:
                what = f"{where} says {said}, expected {schema.VERSION}; {command}"
                yield Fault("schema version", row["name"], span(row["name"]), what)


def _keys(samples: pa.Table) -> Iterator[Fault]:
    counts = samples["key"].value_counts().to_pylist()
    for entry in (e for e in counts if e["counts"] > 1):
        rows = np.flatnonzero(pc.equal(samples["key"], entry["values"]).to_numpy(zero_copy_only=False))
        for row in rows[1:]:
            what = f"occurs {entry['counts']} times, first in {samples['shard'][int(rows[0])]}"
            yield Fault("duplicate key", samples["shard"][int(row)].as_py(), entry["values"], what)


def _splits(samples: pa.Table, named: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    shard_splits = {name: row["split"] for name, row in named.items()}
    homes: dict[str, str] = {}
    told: dict[str, set[str]] = defaultdict(set)
    columns = (samples[name].to_pylist() for name in ("key", "shard", "split", "subject"))
    for key, shard, split, subject in zip(*columns, strict=True):
        if shard_splits.get(shard, split) != split:
            yield Fault("wrong split", shard, key, f"its row says {split}, its shard is {shard_splits[shard]}")
        if homes.setdefault(subject, split) != split and split not in told[subject]:
            told[subject].add(split)
            yield Fault("subject in two splits", shard, key, f"{subject!r} is in {homes[subject]} and in {split}")


def _extents(plan: Plan) -> list[Extent]:
    """Read the shard's rows of the sample table, from only the row groups that hold them."""
    with storage.open_read(storage.join(plan.location, manifest.SAMPLES)) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        start, tables = 0, []
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            low, high = max(plan.first - start, 0), min(plan.first + plan.count - start, rows)
            if low < high:
                columns = ["key", "offset", "size", "crc32"]
                tables.append(parquet.read_row_group(group, columns=columns, use_threads=False).slice(low, high - low))
            start += rows
    return [Extent(**row) for table in tables for row in table.to_pylist()]
