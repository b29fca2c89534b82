"""Records from photographs: detection, crop, skin mask, quality; photographs left out are counted by reason.

Two streaming passes of Ray Data: the first hashes every photograph, so that only the first of several versions is used;
the second makes the samples.
"""

import functools
import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mosar.datasets.dedup import duplicates
from mosar.errors import PhotographError
from mosar.jobs.sources import image_files
from mosar.jobs.sources.image_files import Picture
from mosar.jobs.sources.trained_segmentation import TrainedSegmentation
from mosar.platform import storage
from mosar.platform.data.ordered_map import streamed
from mosar.platform.data.shards import Record
from mosar.platform.storage import digest

LEFT_OUT = "left_out"
HELD_OUT = "held out for evaluation"
_HASHES = "hashes"
_AT_ONCE = 256
By = Literal["file", "folder"]
_OFFICIAL = re.compile(r"[A-Z]\d{5}(\d)")


@dataclass(frozen=True)
class Task:
    """A shard: photographs of one split, with subjects, image size and licence; ``without``: flags to leave out."""

    split: str
    pictures: tuple[Picture, ...]
    subjects: tuple[str, ...]
    image_size: int
    without: tuple[str, ...]
    licence: str | None


def subject_of(picture: Picture, by: By) -> str:
    """Return the subject of a photograph: one per file, or one per folder (files in the root are one subject each)."""
    return picture.folder if by == "folder" and picture.folder else picture.name


def split_of(name: str) -> str:
    """Return the split of a subject, by the name of its photograph (without suffix) or folder: 1 in 10 is validation.

    Official portraits (a letter and six digits) are validation if the last digit is 9. Other names are hashed, so that
    the split of a subject stays the same when a folder grows.
    """
    return "validation" if _digit(name) == 9 else "train"


def gives_statistics(name: str) -> bool:
    """Whether a photograph of the training split counts in statistics of portraits (6 in 10 of all photographs).

    The others show how realistic captures drawn from the statistics are.
    """
    return _digit(name) < 6


_SECOND = 8
"""Last digit, or hash, of the subjects that are validation where ``exclude`` leaves out all others of that split."""


def _digit(name: str) -> int:
    official = _OFFICIAL.fullmatch(name)
    return int(official[1]) if official else int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10


def tasks(
    location: str,
    found: Sequence[Picture],
    image_size: int,
    shard: int,
    without: Sequence[str] = (),
    licence: str | None = None,
    by: By = "file",
    concurrency: int = 0,
    exclude: Collection[str] = (),
) -> list[Task]:
    """Return shards of the photographs that are not duplicates of earlier ones; duplicates are noted at ``location``.

    The hashes are stored there too, so that they are not computed again after an interruption. Photographs whose names
    are in ``exclude`` are left out, and every photograph that is a duplicate of one of them.
    """
    chunks = [tuple(found[i : i + _AT_ONCE]) for i in range(0, len(found), _AT_ONCE)]
    parts = streamed(chunks, functools.partial(_hash, location), concurrency)
    hashes = [bytes.fromhex(text) if text else None for part in parts for text in part]
    twice = duplicates(hashes)
    if twice:
        where = storage.join(location, "duplicates.json")
        storage.write_json(where, {found[a].label: found[b].label for a, b in twice.items()})
        note = {found[a].label: "a duplicate of another photograph" for a in twice}
        storage.write_json(storage.join(location, LEFT_OUT, "duplicates.json"), note)
    held_out = {twice.get(number, number) for number, picture in enumerate(found) if picture.name in exclude}
    if held_out:
        note = {p.label: HELD_OUT for n, p in enumerate(found) if twice.get(n, n) in held_out and n not in twice}
        storage.write_json(storage.join(location, LEFT_OUT, "held_out.json"), note)
    groups: dict[str, list[Picture]] = defaultdict(list)
    for number, picture in enumerate(found):
        if number not in twice and number not in held_out:
            groups[split_of(subject_of(picture, by))].append(picture)
    if held_out and "validation" not in groups:  # the whole split is held out: training needs another one
        groups["validation"] = [p for p in groups["train"] if _digit(subject_of(p, by)) == _SECOND]
        groups["train"] = [p for p in groups["train"] if _digit(subject_of(p, by)) != _SECOND]
    return [
        Task(split, some, tuple(subject_of(p, by) for p in some), image_size, tuple(without), licence)
        for split, own in sorted(groups.items())
        for i in range(0, len(own), shard)
        for some in [tuple(own[i : i + shard])]
    ]


def produce(segmentation: TrainedSegmentation | None, location: str, task: Task) -> Iterator[Record]:
    """Yield the records of a shard; write the photographs left out, with reasons, to ``left_out/`` of the data set.

    ``segmentation`` makes the masks; without it they are the hull of the landmarks.
    """
    from mosar.datasets import schema
    from mosar.datasets.in_the_wild import in_the_wild_sample
    from mosar.datasets.landmarks import Detector
    from mosar.datasets.quality import Quality

    left_out: dict[str, str] = {}
    network = segmentation.load() if segmentation else None
    with Detector() as detector:
        for picture, subject in zip(task.pictures, task.subjects, strict=True):
            try:
                data = image_files.read_image_file(picture)
                sample = in_the_wild_sample(data, detector, task.image_size, network)
            except PhotographError as error:
                left_out[picture.label] = str(error).partition(";")[0]
                continue
            flags = Quality(**sample["capture"]["quality"]).flags
            unwanted = [flag for flag in flags if flag in task.without]
            if unwanted:
                left_out[picture.label] = f"the face is {unwanted[0]}"
                continue
            sample["capture"] |= {"subject": subject, "split": task.split}
            if task.licence:
                sample["capture"]["licence"] = task.licence
            members = schema.encode(sample)
            schema.validate(members, "wild")
            yield Record(_key(picture), task.split, subject, members, flags)
    if left_out:
        name = f"{digest.of_json([p.label for p in task.pictures])[:16]}.json"
        storage.write_json(storage.join(location, LEFT_OUT, name), left_out)


def _hash(location: str, chunk: Sequence[Picture]) -> list[str]:
    """Return perceptual hashes in hexadecimal, empty for unreadable photographs; they are stored in ``hashes/``."""
    from mosar.datasets.dedup import perceptual_hash
    from mosar.datasets.photographs import read_photograph

    name = f"{digest.of_json([[p.label, p.place] for p in chunk])[:16]}.json"
    where = storage.join(location, _HASHES, name)
    if storage.exists(where):
        return [str(text) for text in storage.read_json(where)]
    found = []
    for picture in chunk:
        try:
            found.append(perceptual_hash(read_photograph(image_files.read_image_file(picture))).hex())
        except PhotographError:
            found.append("")  # the second pass reports the reason
    storage.write_json(where, found)
    return found


def _key(picture: Picture) -> str:
    """Return the key of a sample: the file name and a hash of the label, because folders may share file names."""
    label = hashlib.sha256(picture.label.encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', picture.name)[:50]}-{label[:8]}"
