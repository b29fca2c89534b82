"""A folder of photographs without truth: which of them are measured, and how they are read."""

import re
from collections.abc import Sequence

from mosar.errors import ConfigError
from mosar.jobs.sources import image_files
from mosar.jobs.sources.held_out import read_names
from mosar.jobs.sources.image_files import Picture
from mosar.jobs.sources.photographs import split_of

_OFFICIAL = re.compile(r"[A-Z]\d{6}")
_PER_CHUNK = 4


def find_portraits(folder: str, names: str | None) -> list[Picture]:
    """Photographs to measure, in the order of their names.

    Those whose names the file ``names`` lists. Without such a file all; but if the folder holds official portraits (a
    letter and six digits), only those of the validation split, because the others may have been trained on.

    Raises:
        ConfigError: the folder or the file does not exist, or holds nothing that can be measured.
    """
    found = sorted(image_files.find_image_files(folder), key=lambda picture: picture.label)
    if names is not None:
        wanted = read_names(names)
        chosen = [p for p in found if p.name in wanted]
    elif any(_OFFICIAL.fullmatch(p.name) for p in found):
        chosen = [p for p in found if split_of(p.name) == "validation"]
    else:
        chosen = found
    if len(chosen) < 2:
        raise ConfigError(
            f"folder: {len(chosen)} of {len(found)} photographs in {folder} are chosen; expected 2 or more"
        )
    return chosen


def chunks_of(items: Sequence[object], size: int = _PER_CHUNK) -> list[list[int]]:
    """Numbers of the items in chunks of ``size``; none has a single item, because each needs another person's."""
    parts = [list(range(start, min(start + size, len(items)))) for start in range(0, len(items), size)]
    if len(parts) > 1 and len(parts[-1]) < 2:
        last = parts.pop()
        parts[-1] += last
    return parts
