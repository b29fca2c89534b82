"""Records from a folder of photographs: detection, crop, skin mask; what is left out is counted by reason."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mosar.datasets import schema
from mosar.errors import ConfigError, PhotographError
from mosar.platform import digest, storage
from mosar.platform.shards import Record

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
_OFFICIAL = re.compile(r"[A-Z]\d{5}(\d)")


@dataclass(frozen=True)
class Task:
    """A shard: photographs of one split by absolute path."""

    split: str
    paths: tuple[str, ...]
    image_size: int


def split_of(name: str) -> str:
    """The split of a photograph by its name without ending: one in ten is validation.

    Official portraits (a letter, six digits): last digit 9. Others: by a hash, so that a folder may grow.
    """
    official = _OFFICIAL.fullmatch(name)
    digit = int(official[1]) if official else int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10
    return "validation" if digit == 9 else "train"


def tasks(folder: str, image_size: int, shard: int) -> list[Task]:
    """Shards of a folder's photographs, in the order of their names.

    Raises:
        ConfigError: there is no such folder, or no photograph in it.
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise ConfigError(f"folder: there is no folder {root}")
    groups: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix.lower() in ENDINGS:
            groups[split_of(path.stem)].append(str(path))
    if not groups:
        raise ConfigError(f"folder: no photographs in {root}; expected files ending in {', '.join(ENDINGS)}")
    return [
        Task(split, tuple(paths[i : i + shard]), image_size)
        for split, paths in sorted(groups.items())
        for i in range(0, len(paths), shard)
    ]


def produce(location: str, task: Task) -> Iterator[Record]:
    """The records of a shard; what was left out, and why, is written to ``left_out/`` of the data set."""
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.wild import wild_sample

    left_out: dict[str, str] = {}
    with Detector() as detector:
        for path in task.paths:
            name = Path(path).stem
            try:
                sample = wild_sample(Path(path).read_bytes(), detector, task.image_size)
            except PhotographError as error:
                left_out[path] = str(error).partition(";")[0]
                continue
            sample["capture"] |= {"subject": name, "split": task.split}
            members = schema.encode(sample)
            schema.validate(members, "wild")
            yield Record(_key(path), task.split, name, members)
    if left_out:
        note = f"{digest.of_json(list(task.paths))[:16]}.json"
        storage.write_json(storage.join(location, "left_out", note), left_out)


def _key(path: str) -> str:
    """A sample's key: the file's name, and a hash of its path, for names may occur in several folders."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', Path(path).stem)[:50]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
