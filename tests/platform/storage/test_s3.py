"""Storage and data sets in an object store: a real S3 server on the loopback interface."""

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from mosar.errors import DataError
from mosar.platform import storage
from mosar.platform.cluster import free_ports
from mosar.platform.data import manifest, shards, writer
from mosar.platform.data.manifest import Manifest
from mosar.platform.data.shards import Record
from mosar.platform.runs import run

pytest.importorskip("s3fs")
pytest.importorskip("moto")

_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket on a server that runs for all tests of the module."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    secrets = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = secrets | {"AWS_ENDPOINT_URL": url}
    before = {key: os.environ.get(key) for key in environment}
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.environ.update(environment)
        _wait(url)
        import fsspec

        fsspec.filesystem("s3").mkdir("data")
        yield "s3://data/mosar"
    finally:
        server.terminate()
        server.wait()
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def _wait(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/moto-api/", timeout=2):
            return
        time.sleep(0.1)
    raise AssertionError("the S3 server did not come up")


def produce(task: int) -> Iterator[Record]:
    for number in range(3):
        members = {"capture.json": json.dumps({"n": task * 3 + number}).encode(), "image.jpg": bytes(2000 + task)}
        yield Record(f"s{task}-{number}", "train", f"s{task}", members)


def write(location: str, made: list[int], stop_at: int | None = None, tasks: int = 4) -> Manifest:
    def counted(task: int) -> Iterator[Record]:
        if task == stop_at:
            raise KeyboardInterrupt
        made.append(task)
        return produce(task)

    return writer.write_dataset(location, range(tasks), counted, recipe={"a": 1}, schema_version=1, concurrency=0)


def test_every_operation_of_storage(bucket: str) -> None:
    place = storage.join(bucket, "a", "b.json")
    assert not storage.exists(place)
    assert storage.names(storage.join(bucket, "a")) == []
    with pytest.raises(DataError, match="no such file"):
        storage.read_bytes(place)
    storage.write_json(place, {"x": [1]})
    storage.write_json(place, {"x": [2]})
    assert storage.read_json(place) == {"x": [2]}
    assert storage.names(storage.join(bucket, "a")) == ["b.json"]
    assert storage.files(bucket) == ["a/b.json"]
    assert storage.size(place) == len(storage.read_bytes(place))
    storage.append_bytes(storage.join(bucket, "log"), b"1\n")
    storage.append_bytes(storage.join(bucket, "log"), b"2\n")
    assert storage.read_bytes(storage.join(bucket, "log")) == b"1\n2\n"
    storage.remove(storage.join(bucket, "a"))
    storage.remove(storage.join(bucket, "a"))
    assert not storage.exists(place)


def test_what_another_process_wrote_is_seen(bucket: str) -> None:
    folder = storage.join(bucket, "shared")
    storage.write_bytes(storage.join(folder, "mine"), b"1")
    assert storage.names(folder) == ["mine"]
    code = "import sys; from mosar.platform import storage; storage.write_bytes(sys.argv[1], b'2')"
    subprocess.run([sys.executable, "-c", code, storage.join(folder, "theirs")], check=True)
    assert storage.names(folder) == ["mine", "theirs"]


def test_tail_follows_metrics_as_they_grow_and_are_rewound(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"{bucket}/run"
    tail = run.Tail(place)
    assert tail.read() == ([], False)
    run.log(place, {"step": 1})
    assert tail.read() == ([{"step": 1}], False)
    with monkeypatch.context() as patched:
        patched.setattr(storage, "read_bytes", None)  # without new lines nothing is fetched
        assert tail.read() == ([], False)
    run.log(place, {"step": 2})
    run.log(place, {"step": 3})
    assert tail.read() == ([{"step": 2}, {"step": 3}], False)
    run.rewind_metrics(place, 1)
    run.log(place, {"step": 2, "loss": 0.5})
    assert tail.read() == ([{"step": 1}, {"loss": 0.5, "step": 2}], True)


def test_a_data_set_is_the_same_as_in_a_folder_and_is_continued(bucket: str, tmp_path: os.PathLike[str]) -> None:
    there, here = storage.join(bucket, "data", "toy"), storage.join(str(tmp_path), "toy")
    made: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        write(there, made, stop_at=2)
    assert made == [0, 1]
    found = write(there, made)
    assert made == [0, 1, 2, 3]  # finished shards were not made again
    write(here, [])
    assert storage.files(there) == storage.files(here)
    for name in storage.files(here):
        assert storage.read_bytes(storage.join(there, name)) == storage.read_bytes(storage.join(here, name)), name
    members = list(shards.read_samples(found.shard_location(2), found.extents(2, [2, 0])))
    assert [json.loads(m["capture.json"])["n"] for m in members] == [8, 6]


def test_scattered_samples_fetch_only_their_own_bytes(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    place = storage.join(bucket, "large.tar")
    records = [Record(f"k{i}", "train", "s", {"x.npy": bytes([i]) * 30_000}) for i in range(40)]
    content, extents = shards.pack(records, place)
    storage.write_bytes(place, content)
    fetched: list[int] = []
    before = s3fs.S3FileSystem._cat_file

    async def counted(*arguments: Any, **more: Any) -> bytes:
        found: bytes = await before(*arguments, **more)
        fetched.append(len(found))
        return found

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", counted)
    chosen = [extents[i] for i in (30, 3, 4, 17)]
    assert [members["x.npy"][0] for members in shards.read_samples(place, chosen)] == [30, 3, 4, 17]
    assert len(fetched) == 3  # neighbours share a request
    assert sum(fetched) == sum(extent.size for extent in chosen)
    monkeypatch.setattr("mosar.platform.storage.filesystem._CHUNK_BYTES", 50_000)
    fetched.clear()
    samples = shards.read_samples(place, chosen)
    next(samples)
    assert sum(fetched) == 2 * extents[0].size  # later chunks are not fetched yet
    assert [members["x.npy"][0] for members in samples] == [3, 4, 17]
    for end in (extents[30].offset + 100, extents[30].offset):
        storage.write_bytes(place, content[:end])
        with pytest.raises(DataError, match=r"large\.tar: truncated at sample 'k30'"):
            list(shards.read_samples(place, chosen))
    storage.remove(place)
    with pytest.raises(DataError, match="no such file"):
        list(shards.read_samples(place, chosen))


def test_sample_rows_fetch_no_more_than_their_row_group(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setattr(manifest, "_ROWS_PER_GROUP", 64)
    folder = storage.join(bucket, "rows")
    rows = [manifest.ShardRow(f"shard-{n}.tar", "train", 64, 1, "0" * 64) for n in range(32)]
    samples = [
        {"shard": row.name, "key": f"{row.name[:-4]}-{i}", "offset": i, "size": 1, "crc32": i, "split": "train",
         "subject": "s", "flags": []} for row in rows for i in range(64)
    ]  # fmt: skip
    table = pa.Table.from_pylist(samples, schema=manifest.SAMPLE_SCHEMA)
    manifest.write(folder, rows, [table], {"schema_version": 1})
    found = Manifest(folder)
    assert found.extents(0, [5])[0].key == "shard-0-5"
    fetched: list[int] = []
    before = s3fs.S3File._fetch_range

    def counted(self: Any, start: int, end: int) -> bytes:
        got: bytes = before(self, start, end)
        fetched.append(len(got))
        return got

    monkeypatch.setattr(s3fs.S3File, "_fetch_range", counted)
    assert found.extents(7, [5])[0].key == "shard-7-5"
    assert 0 < sum(fetched) < storage.size(storage.join(folder, manifest.SAMPLES)) / 16
