"""Find and read images: files in folders, members of tars, rows of Parquet tables; local or at any fsspec URI."""

import functools
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mosar.errors import ConfigError, DataError
from mosar.platform import storage
from mosar.platform.storage import digest

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
COLUMNS = ("image", "jpg", "jpeg", "png", "bytes")
"""Columns of a Parquet table that may hold images: bytes, or Hugging Face's struct of ``bytes`` and ``path``."""


@dataclass(frozen=True)
class Picture:
    """An image and the location of its bytes.

    ``label``: path below the root; in a container followed by ``#`` and the name inside it. ``file``: location.
    ``place``: offset and size in a tar, or row group and row of a Parquet table; else None.
    """

    label: str
    file: str
    place: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Name without folder and suffix."""
        return PurePosixPath(self.label.replace("#", "/")).stem

    @property
    def folder(self) -> str:
        """Path of its folder below the root; empty in the root itself."""
        return PurePosixPath(self.label.replace("#", "/")).parent.as_posix().removeprefix(".")


def find_image_files(folder: str) -> list[Picture]:
    """Return all images below a folder or URI, in the order of files and then within each; reads only their indices.

    Raises:
        ConfigError: the folder does not exist, or has no image.
        DataError: a tar or table cannot be read.
    """
    root = storage.root(folder) if storage.is_uri(folder) else _absolute(folder)
    found = [picture for name in storage.files(root) for picture in _in_file(storage.join(root, name), name)]
    if not found:
        raise ConfigError(
            f"folder: no photographs in {root}; expected files ending in {', '.join(ENDINGS)}, "
            "or .tar or .parquet files that contain them"
        )
    return found


def inputs(folder: str, found: Sequence[Picture]) -> dict[str, str]:
    """Each folder with images or containers of them -> digest of the sizes and times of these files."""
    root = storage.root(folder) if storage.is_uri(folder) else _absolute(folder)
    used = {picture.file for picture in found}
    parts: dict[str, dict[str, str]] = {}
    for name, fingerprint in storage.fingerprints(root).items():
        if storage.join(root, name) in used:
            parts.setdefault(PurePosixPath(name).parent.as_posix(), {})[name] = fingerprint
    return {part: f"{len(own)} files, {digest.of_json(own)}" for part, own in parts.items()}


def read_image_file(picture: Picture) -> bytes:
    """Return the bytes of an image. Raises DataError if its file no longer exists."""
    if picture.place is None:
        return storage.read_bytes(picture.file)
    if picture.file.endswith(".parquet"):
        column = _row_group(picture.file, picture.place[0])
        return _content(column[picture.place[1]].as_py())
    with storage.open_read(picture.file) as file:
        file.seek(picture.place[0])
        return file.read(picture.place[1])


def _absolute(folder: str) -> str:
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise ConfigError(f"folder: no folder {root}; expected an existing one, or a URI")
    return str(root)


def _in_file(location: str, name: str) -> Iterator[Picture]:
    ending = PurePosixPath(name).suffix.lower()
    if ending in ENDINGS:
        yield Picture(name, location)
    elif ending == ".tar":
        yield from _in_tar(location, name)
    elif ending == ".parquet":
        yield from _in_table(location, name)


def _in_tar(location: str, name: str) -> Iterator[Picture]:
    try:
        with storage.open_read(location) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in ENDINGS:
                    yield Picture(f"{name}#{member.name}", location, (member.offset_data, member.size))
    except tarfile.TarError as error:
        raise DataError(f"{location}: not a plain tar ({error}); decompress it first") from error


def _in_table(location: str, name: str) -> Iterator[Picture]:
    try:
        with storage.open_read(location) as file:
            parquet = pq.ParquetFile(file, pre_buffer=False)
            column = _column(parquet.schema_arrow, location)
            named = pa.types.is_struct(parquet.schema_arrow.field(column).type)
            number, seen = 0, {""}
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                paths = [""] * rows
                if named:
                    field = f"{column}.path"
                    table = parquet.read_row_group(group, columns=[field], use_threads=False)
                    paths = [value.get("path") or "" for value in table[column].to_pylist()]
                for row, path in enumerate(paths):
                    label = f"{number:09d}" if path in seen else path
                    yield Picture(f"{name}#{label}", location, (group, row))
                    seen.add(path)
                    number += 1
    except pa.ArrowInvalid as error:
        raise DataError(f"{location}: not a Parquet table ({error})") from error


def _column(schema: Any, location: str) -> str:
    for name in COLUMNS:
        if name in schema.names:
            return name
    raise DataError(f"{location}: columns {', '.join(schema.names)}; expected one of {', '.join(COLUMNS)} with images")


@functools.lru_cache(maxsize=1)
def _row_group(location: str, group: int) -> Any:
    """Images of a row group. The last group is cached, because images are read in order."""
    with storage.open_read(location) as file:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        column = _column(parquet.schema_arrow, location)
        return parquet.read_row_group(group, columns=[column], use_threads=False)[column].combine_chunks()


def _content(value: Any) -> bytes:
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else b""
