"""The manifest of a data set: ``shards.parquet`` (a row per shard) and ``samples.parquet`` (a row per sample).

Sample rows are in shard order. Planning needs only the shard rows; sample rows are read one row group at a time, when
their shard is read. So a data set of 100 million samples opens as quickly as a small one.
"""

import dataclasses
import io
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mosar.errors import DataError
from mosar.platform import storage
from mosar.platform.data.shards import Extent
from mosar.platform.storage import digest

SHARDS, SAMPLES = "shards.parquet", "samples.parquet"
_ROWS_PER_GROUP = 1 << 15
_GROUPS_KEPT = 32
"""Row groups kept in memory, some 40 MB. A window of the order takes samples from 16 shards in turn, each in its own
row group, and a block may reach into the next window. With fewer, the same groups would be read again and again."""

_ABOUT = b"mosar"

_SHARD_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("split", pa.string()),
        ("samples", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("schema_version", pa.int32()),
    ]
)
SAMPLE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("crc32", pa.uint32()),
        ("split", pa.string()),
        ("subject", pa.string()),
        ("flags", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class ShardRow:
    """One shard: its file name, split, counts, and the sha256 of the file."""

    name: str
    split: str
    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Split:
    """The shards of one split: ``shard_n`` are row numbers in the manifest, ``samples_n`` their sample counts."""

    shard_n: npt.NDArray[np.int64]
    samples_n: npt.NDArray[np.int64]

    @property
    def samples(self) -> int:
        return int(self.samples_n.sum())


class Manifest:
    """A completely written data set. It is cheap to open; :func:`open_manifest` returns a cached one."""

    def __init__(self, location: str) -> None:
        """Raises DataError if ``location`` holds no readable manifest."""
        self.location = location
        if not storage.exists(storage.join(location, SHARDS)):
            raise DataError(f"{location}: no data set here ({SHARDS} is missing); make it first")
        try:
            with storage.open_read(storage.join(location, SHARDS)) as file:
                self._shards = _read(file, ["name", "split", "samples", "bytes"])
        except pa.ArrowInvalid as error:
            raise DataError(f"{location}: {SHARDS} cannot be read ({error}); write the data set again") from error
        self.about: dict[str, Any] = json.loads((self._shards.schema.metadata or {}).get(_ABOUT, b"{}"))
        """What the writer recorded: recipe, schema version, digest of the sample rows."""
        counts = self._shards["samples"].to_numpy()
        self._first_row = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self._groups: OrderedDict[int, tuple[Any, ...]] = OrderedDict()

    @cached_property
    def digest(self) -> str:
        """sha256 of ``shards.parquet``, which identifies the data: it holds the sha256 of all other files."""
        return digest.of_file(storage.join(self.location, SHARDS))

    @property
    def samples(self) -> int:
        return int(self._first_row[-1])

    @property
    def sample_bytes(self) -> float:
        """Mean bytes of a sample in the shards."""
        return int(pc.sum(self._shards["bytes"]).as_py()) / max(1, self.samples)

    @property
    def splits(self) -> list[str]:
        return sorted(self._shards["split"].unique().to_pylist())

    def split(self, name: str) -> Split:
        """Shards of one split, empty ones left out.

        Raises:
            DataError: the split has no samples.
        """
        counts = self._shards["samples"].to_numpy()
        mask = pc.equal(self._shards["split"], name).to_numpy() & (counts > 0)
        if not mask.any():
            raise DataError(f"{self.location}: no samples in split {name!r}; it has {', '.join(self.splits) or 'none'}")
        shard_n = np.flatnonzero(mask).astype(np.int64)
        return Split(shard_n, counts[shard_n].astype(np.int64))

    def shard_location(self, shard: int) -> str:
        return storage.join(self.location, str(self._shards["name"][shard]))

    def row(self, shard: int, index: int) -> int:
        """Number of a sample in the whole data set: its row in ``samples.parquet``."""
        return int(self._first_row[shard]) + index

    def extents(self, shard: int, indices: Sequence[int]) -> list[Extent]:
        """Extents of the samples ``indices`` of a shard."""
        return [self._extent(self.row(shard, int(index))) for index in indices]

    def sample_name(self, row: int) -> str:
        """Shard and key of a sample, for messages."""
        shard = int(np.searchsorted(self._first_row, row, side="right")) - 1
        return f"{self.shard_location(shard)}: sample {self._extent(row).key!r}"

    def shards(self) -> list[ShardRow]:
        """All shard rows, for tools that read the whole data set."""
        with storage.open_read(storage.join(self.location, SHARDS)) as file:
            table = _read(file, ["name", "split", "samples", "bytes", "sha256"])
        return [ShardRow(**row) for row in table.to_pylist()]

    def _extent(self, row: int) -> Extent:
        group, place = divmod(row, _ROWS_PER_GROUP)
        if group not in self._groups:
            with storage.open_read(storage.join(self.location, SAMPLES), scattered=True) as file:
                parquet = pq.ParquetFile(file, metadata=self._samples_metadata, pre_buffer=False)
                columns = parquet.read_row_group(group, columns=["key", "offset", "size", "crc32"], use_threads=False)
            key, *numbers = (columns[name].combine_chunks() for name in columns.column_names)
            self._groups[group] = (key, *(column.to_numpy() for column in numbers))
            while len(self._groups) > _GROUPS_KEPT:
                self._groups.popitem(last=False)
        self._groups.move_to_end(group)
        key, *numbers = self._groups[group]
        return Extent(key[place].as_py(), *(int(column[place]) for column in numbers))

    @cached_property
    def _samples_metadata(self) -> pq.FileMetaData:
        with storage.open_read(storage.join(self.location, SAMPLES), scattered=True) as file:
            return pq.read_metadata(file)


@lru_cache(maxsize=8)
def open_manifest(location: str, expected_digest: str | None = None) -> Manifest:
    """The manifest, opened once per process.

    Raises:
        DataError: there is no data set, or its digest is not ``expected_digest``.
    """
    manifest = Manifest(location)
    if expected_digest is not None and manifest.digest != expected_digest:
        raise DataError(f"{location}: the data set changed while it was in use ({SHARDS} differs); start again")
    return manifest


def write(location: str, shards: Sequence[ShardRow], samples: Iterable[pa.Table], about: Mapping[str, Any]) -> None:
    """Write both tables. The shard rows are written last and make the data set valid.

    ``samples`` are tables of :data:`SAMPLE_SCHEMA`, of any lengths, which together are in shard order. ``about`` must
    be JSON-ready and is stored with the shard rows.
    """
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SAMPLE_SCHEMA, compression="zstd") as writer:
        for group in _row_groups(samples):
            writer.write_table(group, row_group_size=_ROWS_PER_GROUP)
    content = buffer.getvalue()
    storage.write_bytes(storage.join(location, SAMPLES), content)
    metadata = {_ABOUT: json.dumps({**about, "samples_sha256": digest.of_bytes(content)}, sort_keys=True).encode()}
    version = int(about["schema_version"])
    rows = [{**dataclasses.asdict(row), "schema_version": version} for row in shards]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=_SHARD_SCHEMA.with_metadata(metadata)), buffer, compression="zstd")
    storage.write_bytes(storage.join(location, SHARDS), buffer.getvalue())


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Cut the rows into tables of ``_ROWS_PER_GROUP``, so that division gives a row's group; the last is shorter."""
    rest = SAMPLE_SCHEMA.empty_table()
    for table in tables:
        rest = pa.concat_tables([rest, table])
        while rest.num_rows >= _ROWS_PER_GROUP:
            yield rest.slice(0, _ROWS_PER_GROUP)
            rest = rest.slice(_ROWS_PER_GROUP)
    if rest.num_rows:
        yield rest


def _read(file: IO[bytes], columns: list[str]) -> pa.Table:
    """Read with one thread: pyarrow 26 aborts processes that end soon after its thread pools were used."""
    return pq.ParquetFile(file, pre_buffer=False).read(columns=columns, use_threads=False)
