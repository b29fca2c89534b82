"""Records from a studio's folder of light-stage captures, with a report on each capture."""

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mosar.datasets.studio import layout
from mosar.errors import ConfigError
from mosar.platform import storage
from mosar.platform.data.shards import Record
from mosar.platform.storage import digest

REPORTS = "reports"


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


def digest_of(folder: str) -> str:
    """Digest of the names of a folder's captures."""
    place = _place(folder)
    with _local(place, _names(place), ()) as root:
        return digest.of_json([list(pair) for pair in layout.captures(root)])


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
