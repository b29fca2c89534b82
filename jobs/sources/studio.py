"""Records from a studio's folder of light-stage captures, with a report on each capture."""

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar.config import to_mapping
from mosar.datasets.studio import layout
from mosar.errors import ConfigError
from mosar.jobs.sources import virtual
from mosar.platform import storage
from mosar.platform.data.shards import Record
from mosar.platform.storage import digest

_EXAMPLE = 7 * 10**6
"""First seed of an example's people; tiny data sets have none of them."""
REPORTS, LEFT_OUT = "reports", "left_out"


@dataclass(frozen=True)
class Task:
    """A shard: captures (subject, capture) of one split."""

    folder: str
    split: str
    captures: tuple[tuple[str, str], ...]
    map_size: int
    image_size: int


def tasks(folder: str, map_size: int, image_size: int, shard: int) -> list[Task]:
    """Return shards of a studio's folder (a path or URI), ``shard`` captures each, in the order of their names.

    Raises:
        ConfigError: the folder does not exist, or does not have the expected layout.
    """
    place = _place(folder)
    with _local(place, _names(place), {"studio.json"}) as root:
        if not root.is_dir():
            raise ConfigError(f"folder: no folder {root}; expected an existing one, or a URI")
        studio = layout.read_studio(root)
        found = layout.captures(root)
    return [
        Task(place, split, tuple(own[i : i + shard]), map_size, image_size)
        for split in layout.SPLITS
        if (own := [pair for pair in found if studio.split(pair[0]) == split])
        for i in range(0, len(own), shard)
    ]


def settings(folder: str) -> dict[str, Any]:
    """The content of a folder's ``studio.json``, with defaults filled in."""
    place = _place(folder)
    with _local(place, _names(place), {"studio.json"}) as root:
        return to_mapping(layout.read_studio(root))


def inputs(folder: str) -> dict[str, str]:
    """Each capture and each subject of a folder -> digest of the sizes and times of its own files.

    ``studio.json`` is not among them: see :func:`settings`.
    """
    parts: dict[str, dict[str, str]] = {}
    for name, fingerprint in storage.fingerprints(_place(folder)).items():
        if name != "studio.json":
            parts.setdefault("/".join(name.split("/")[:-1][:2]), {})[name] = fingerprint
    return {part or ".": digest.of_json(own) for part, own in parts.items()}


def write_example(folder: str, head_path: str | None, map_size: int, image_size: int) -> int:
    """Write a folder as a studio would: one capture of each of three virtual people, one of each split.

    Returns the number of captures.

    Raises:
        ConfigError: the folder exists and is not empty.
    """
    from mosar.datasets.studio import example
    from mosar.models.head import load_head

    root = Path(folder).expanduser().absolute()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ConfigError(f"example: {root} exists and is not an empty folder; choose another")
    people = [
        virtual.Task("lightstage", split, _EXAMPLE + number, 1, 1, map_size, image_size)
        for number, split in enumerate(layout.SPLITS)
    ]
    made = [record.members for person in people for record in virtual.produce(head_path, "", person)]
    return example.write_example(root, load_head(head_path), [("neutral", members) for members in made], "png")


def _place(folder: str) -> str:
    return folder.rstrip("/") if storage.is_uri(folder) else str(Path(folder).expanduser().absolute())


def _names(place: str) -> list[str]:
    """Names of all files below a URI; none for a local path, which is read in place."""
    return storage.files(place) if storage.is_uri(place) else []


@contextlib.contextmanager
def _local(place: str, names: Sequence[str], wanted: Collection[str]) -> Iterator[Path]:
    """Yield a local path as it is; for a URI, a temporary folder with all its folders but only the files ``wanted``."""
    if not storage.is_uri(place):
        yield Path(place)
        return
    if not names:
        raise ConfigError(f"folder: nothing below {place}; expected the captures of a studio")
    with tempfile.TemporaryDirectory(prefix="mosar-studio-") as folder:
        for name in names:
            if ".." in name.split("/"):
                raise ConfigError(f"folder: {place}: {name!r} is outside of the folder")
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in wanted:
                path.write_bytes(storage.read_bytes(storage.join(place, name)))
        yield Path(folder)


def produce(head_path: str | None, location: str, task: Task) -> Iterator[Record]:
    """Yield the records of a shard; the reports on its captures are written to ``reports/`` of the data set."""
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.studio.importer import Importer, to_json
    from mosar.models.head import load_head

    head, names = load_head(head_path), _names(task.folder)
    reports = []
    with Detector() as detector:
        for subject, capture in task.captures:
            own = {
                "studio.json",
                f"{subject}/neutral.obj",
                *(n for n in names if n.startswith(f"{subject}/{capture}/")),
            }
            with _local(task.folder, names, own) as root:
                importer = Importer(root, layout.read_studio(root), head, task.map_size, task.image_size)
                views, report = importer.read(subject, capture, detector)
            reports.append(to_json(report))
            for camera, members in views.items():
                key = f"{subject}-{capture}-{camera}"
                if len(key) > 64:
                    key = f"{key[:55]}-{digest.of_bytes(key.encode())[:8]}"
                yield Record(key, task.split, subject, members)
    name = f"{digest.of_json([list(pair) for pair in task.captures])[:16]}.json"
    storage.write_json(storage.join(location, REPORTS, name), reports)
    faults = {f"{r['subject']}/{r['capture']}: {fault}": fault for r in reports for fault in r["faults"]}
    if faults:
        storage.write_json(storage.join(location, LEFT_OUT, name), faults)


def summary(location: str) -> list[str]:
    """Join the reports into ``reports.json``; return lines to print: every fault and note of a capture, and counts."""
    folder = storage.join(location, REPORTS)
    found = [r for name in storage.names(folder) for r in storage.read_json(storage.join(folder, name))]
    found.sort(key=lambda r: (r["subject"], r["capture"]))
    storage.write_json(storage.join(location, "reports.json"), found)
    lines = [
        f"{r['subject']}/{r['capture']}: {word}: {text}"
        for r in found
        for word, texts in (("left out", r["faults"]), ("note", r["notes"]))
        for text in texts
    ]
    whole = sum(1 for r in found if not r["faults"])
    return [*lines, f"captures: {len(found)}, of which {whole} without a fault; all: {location}/reports.json"]
