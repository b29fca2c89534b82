"""Names of photographs that are held out of every training, one a line in a text file."""

from collections.abc import Iterable
from pathlib import Path

from mosar.errors import ConfigError
from mosar.jobs.sources.image_files import ENDINGS
from mosar.jobs.sources.photographs import split_of
from mosar.platform import storage


def read_names(location: str) -> frozenset[str]:
    """Names (without folder and ending) that a file lists; empty lines and lines that begin with ``#`` do not count.

    Raises:
        ConfigError: there is no such file, it is no text, or it lists nothing.
    """
    location = location if storage.is_uri(location) else str(Path(location).expanduser().absolute())
    if not storage.exists(location):
        raise ConfigError(f"{location}: no such file; expected a text file with one name a line")
    try:
        lines = [line.strip() for line in storage.read_bytes(location).decode().splitlines()]
    except UnicodeDecodeError as error:
        raise ConfigError(f"{location}: not a text file ({error}); expected one name a line") from error
    names = frozenset(name_of(line) for line in lines if line and not line.startswith("#"))
    if not names:
        raise ConfigError(f"{location}: lists no name; expected one a line")
    return names


def name_of(line: str) -> str:
    """A name without its folder, and without the ending of an image file."""
    name = line.rsplit("/", 1)[-1]
    ending = next((e for e in ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def validation_names(names: Iterable[str]) -> list[str]:
    """Those names that are of the validation split, sorted: official portraits whose number ends in 9."""
    return sorted({name for name in names if split_of(name) == "validation"})
