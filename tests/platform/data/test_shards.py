import dataclasses
import inspect
import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosar.errors import ConfigError, DataError
from mosar.platform.data import manifest, shards, writer
from mosar.platform.data.sampler import Sampler
from mosar.platform.data.shards import Extent, Record


def record(key: str, split: str = "train", **members: bytes) -> Record:
    return Record(key, split, f"subject-{key}", {"image.jpg": b"jpeg", **members})


def produce(task: dict[str, int]) -> list[Record]:
    split = "train" if task["index"] % 3 else "validation"
    return [record(f"k{task['index']}-{i}", split, **{"x.npy": bytes([i]) * 700}) for i in range(task["count"])]


TASKS = [{"index": i, "count": 2 + i} for i in range(5)]


def write(location: Path, **more: object) -> manifest.Manifest:
    options = {"recipe": {"tasks": TASKS}, "schema_version": 1, "concurrency": 0, **more}
    return writer.write_dataset(str(location), TASKS, produce, **options)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=8))
def test_what_is_packed_is_read_back_and_packs_to_the_same_bytes(contents: list[bytes]) -> None:
    records = [Record(f"k{i}", "train", "s", {"a.npy": c, "b.json": c[::-1]}) for i, c in enumerate(contents)]
    content, extents = shards.pack(records, "here")
    assert shards.pack(records, "here") == (content, extents)
    for r, e in zip(records, extents, strict=True):
        assert shards.unpack(content[e.offset : e.offset + e.size], e.key, "here") == r.members
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getnames() == [f"{r.key}.{m}" for r in records for m in sorted(r.members)]
        assert {(m.mtime, m.uid, m.uname) for m in tar.getmembers()} == {(0, 0, "")}


def test_data_sets_are_reproducible_and_read_back(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a"), write(tmp_path / "b")
    assert first.digest == second.digest
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert first.splits == ["train", "validation"]
    assert first.samples == sum(t["count"] for t in TASKS)
    assert first.split("train").shard_n.tolist() == [1, 2, 4]
    shard = 4
    extents = first.extents(shard, [5, 0])
    samples = list(shards.read_samples(first.shard_location(shard), extents))
    assert [e.key for e in extents] == ["k4-5", "k4-0"]
    assert [s["x.npy"][0] for s in samples] == [5, 0]
    for row in first.shards():
        shards.verify(f"{tmp_path}/a/{row.name}", row.sha256)


def test_finished_shards_are_not_made_again(tmp_path: Path) -> None:
    made: list[int] = []

    def interrupted(task: dict[str, int]) -> list[Record]:
        if task["index"] == 3 and made.count(3) == 0:
            made.append(3)
            raise KeyboardInterrupt
        made.append(task["index"])
        return produce(task)

    options = {"recipe": {}, "schema_version": 1, "concurrency": 0}
    with pytest.raises(KeyboardInterrupt):
        writer.write_dataset(str(tmp_path), TASKS, interrupted, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"shards\.parquet is missing"):
        manifest.Manifest(str(tmp_path))
    writer.write_dataset(str(tmp_path), TASKS, interrupted, **options)  # type: ignore[arg-type]
    writer.write_dataset(str(tmp_path), TASKS, interrupted, **options)  # type: ignore[arg-type]
    assert made == [0, 1, 2, 3, 3, 4]


def test_another_recipe_is_refused_with_the_difference(tmp_path: Path) -> None:
    write(tmp_path, recipe={"size": 256})
    with pytest.raises(ConfigError, match=r"recipe\.size: 256 -> 128"):
        write(tmp_path, recipe={"size": 128})


def test_inputs_that_changed_are_refused_by_name(tmp_path: Path) -> None:
    writer.begin(str(tmp_path), {"size": 1}, 1, {"anna": "7:1", "bert": "8:1"})
    writer.begin(str(tmp_path), {"size": 1}, 1, {"anna": "7:1", "bert": "8:1"})
    with pytest.raises(ConfigError, match=r"added: carl; removed: anna; changed: bert"):
        writer.begin(str(tmp_path), {"size": 1}, 1, {"bert": "8:2", "carl": "1:1"})
    with pytest.raises(ConfigError, match=r"added: p0, p1, p2, p3, p4 and 2 more"):
        writer.begin(str(tmp_path), {"size": 1}, 1, {"anna": "7:1", "bert": "8:1", **{f"p{i}": "" for i in range(7)}})


def test_records_of_two_splits_or_keys_twice_are_refused(tmp_path: Path) -> None:
    def write_all(records: list[Record], name: str, tasks: int = 1) -> None:
        writer.write_dataset(
            str(tmp_path / name), list(range(tasks)), lambda _: records, recipe={}, schema_version=1, concurrency=0
        )

    with pytest.raises(ValueError, match="one split"):
        write_all([record("a"), record("b", "test")], "splits")
    with pytest.raises(ValueError, match="occurs twice"):
        write_all([record("a"), record("a")], "twice")
    with pytest.raises(DataError, match="occurs in two shards"):
        write_all([record("a")], "shards", tasks=2)
    with pytest.raises(DataError, match="no samples"):
        write_all([], "none")
    with pytest.raises(ValueError, match="key 'a/b'"):
        write_all([record("a/b")], "key")
    with pytest.raises(DataError, match=r"member 'x\.pkl' is refused"):
        write_all([record("a", **{"x.pkl": b""})], "pickle")


def extent_of(content: bytes, key: str = "k") -> Extent:
    import zlib

    return Extent(key, 0, len(content), zlib.crc32(content))


@pytest.mark.parametrize(
    "name", ["k.x.pkl", "k.x.pickle", "k.../../x.npy", "../k.x.npy", "/k.x.npy", "k.a/b.npy", "j.x.npy"]
)
def test_members_that_are_refused_on_reading(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.size = 4
        tar.addfile(info, io.BytesIO(b"evil"))
    content = path.read_bytes()[:1024]
    with pytest.raises(DataError, match=r"bad\.tar.*'k'"):
        list(shards.read_samples(str(path), [extent_of(content)]))


def test_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("k.x.npy")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="not a regular file"):
        list(shards.read_samples(str(path), [extent_of(path.read_bytes()[:512])]))


def test_truncated_and_altered_shards_are_named_with_the_key(tmp_path: Path) -> None:
    content, extents = shards.pack([record("a"), record("b")], "here")
    path = tmp_path / "s.tar"
    path.write_bytes(content[: extents[1].offset + 600])
    with pytest.raises(DataError, match=r"s\.tar: truncated at sample 'b'"):
        list(shards.read_samples(str(path), extents))
    flipped = bytearray(content)
    flipped[extents[1].offset + 513] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=r"s\.tar: sample 'b' was altered"):
        list(shards.read_samples(str(path), extents))
    damaged = bytes(flipped[:100]) + b"\1" + bytes(flipped[101:1024])
    with pytest.raises(DataError, match="damaged tar header"):
        shards.unpack(damaged, "a", "s.tar")
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        list(shards.read_samples(str(path), extents))


def test_sample_rows_are_read_across_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_ROWS_PER_GROUP", 4)
    data = write(tmp_path)
    keys = [data.extents(shard, range(t["count"])) for shard, t in enumerate(TASKS)]
    assert [[e.key for e in row] for row in keys] == [[f"k{t['index']}-{i}" for i in range(t["count"])] for t in TASKS]
    assert all(dataclasses.astuple(e)[3] for row in keys for e in row)


def rows_of(counts: list[int]) -> tuple[list[manifest.ShardRow], list[pa.Table]]:
    """Shard rows with ``counts`` samples each, and a table of sample rows for each shard."""
    rows = [manifest.ShardRow(f"shard-{n}.tar", "train", count, 1, "0" * 64) for n, count in enumerate(counts)]
    samples = [
        [{"shard": row.name, "key": f"k{n}-{i}", "offset": i, "size": 1, "crc32": i, "split": "train", "subject": "s",
          "flags": []} for i in range(row.samples)] for n, row in enumerate(rows)
    ]  # fmt: skip
    return rows, [pa.Table.from_pylist(table, schema=manifest.SAMPLE_SCHEMA) for table in samples]


def test_tables_of_any_lengths_make_whole_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_ROWS_PER_GROUP", 4)
    counts = [3, 1, 9, 2, 6]
    rows, tables = rows_of(counts)
    manifest.write(str(tmp_path), rows, tables, {"schema_version": 1})
    found = manifest.Manifest(str(tmp_path))
    keys = [extent.key for shard, count in enumerate(counts) for extent in found.extents(shard, range(count))]
    assert keys == [f"k{shard}-{i}" for shard, count in enumerate(counts) for i in range(count)]
    assert found.sample_name(4) == f"{tmp_path}/shard-2.tar: sample 'k2-0'"


def test_row_groups_of_two_windows_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_ROWS_PER_GROUP", 8)
    shards_n = 2 * inspect.signature(Sampler).parameters["window"].default
    rows, tables = rows_of([8] * shards_n)
    manifest.write(str(tmp_path), rows, tables, {"schema_version": 1})
    found = manifest.Manifest(str(tmp_path))
    for shard in range(shards_n):
        found.extents(shard, [0])
    (tmp_path / manifest.SAMPLES).unlink()
    assert [found.extents(shard, [1])[0].key for shard in range(shards_n)] == [f"k{n}-1" for n in range(shards_n)]


def test_a_data_set_that_changed_is_noticed(tmp_path: Path) -> None:
    data = write(tmp_path)
    assert manifest.open_manifest(str(tmp_path), data.digest).digest == data.digest
    with pytest.raises(DataError, match="changed"):
        manifest.open_manifest(str(tmp_path), "0" * 64)
    with pytest.raises(DataError, match="no samples in split 'dev'"):
        data.split("dev")
