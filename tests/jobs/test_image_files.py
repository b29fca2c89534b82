import gzip
import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mosar.errors import ConfigError, DataError
from mosar.jobs.sources import image_files
from mosar.platform import storage


def tar(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def table(rows, **options):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["folder", "uri"])
def test_pictures_of_every_store_are_found_in_order_and_read(tmp_path, kind):
    root = str(tmp_path) if kind == "folder" else f"memory://{tmp_path}"
    stores = {
        "b/one.JPG": b"1",
        "b/readme.txt": b"no picture",
        "c.tar": tar({"x/two.png": b"22", "x/notes.json": b"{}", "three.webp": b"333"}),
        "d.parquet": table([{"jpg": b"4" * n} for n in range(4, 9)], row_group_size=2),
        "a.parquet": table([{"image": {"bytes": b"first", "path": "in/anna.png"}, "label": 3}] * 2),
        ".hidden/six.png": b"6",
    }
    for name, content in stores.items():
        storage.write_bytes(storage.join(root, name), content)
    found = image_files.find_image_files(root)
    assert [p.label for p in found] == [
        "a.parquet#in/anna.png", "a.parquet#000000001", "b/one.JPG", "c.tar#x/two.png", "c.tar#three.webp",
        *(f"d.parquet#{n:09d}" for n in range(5)),
    ]  # fmt: skip
    assert [p.name for p in found[:5]] == ["anna", "000000001", "one", "two", "three"]
    assert [p.folder for p in found[:5]] == ["a.parquet/in", "a.parquet", "b", "c.tar/x", "c.tar"]
    contents = [b"first", b"first", b"1", b"22", b"333", *(b"4" * n for n in range(4, 9))]
    assert [image_files.read_image_file(p) for p in found] == contents


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.txt", b"", ConfigError, "no photographs"),
        ("a.tar", gzip.compress(tar({"x.png": b"1"})), DataError, "not a plain tar"),
        ("a.parquet", b"PAR1", DataError, "not a Parquet table"),
        ("a.parquet", table([{"text": "hello"}]), DataError, "columns text"),
    ],
    ids=["no images", "compressed tar", "cut table", "other columns"],
)
def test_stores_without_pictures_are_clear_errors(tmp_path, name, content, error, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=message):
        image_files.find_image_files(str(tmp_path))
