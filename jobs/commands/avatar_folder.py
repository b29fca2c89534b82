"""The folder of an avatar that a command is given."""

import argparse
from pathlib import Path

from mosar.errors import DataError

FACTS = "avatar.json"


def add_head(parser: argparse.ArgumentParser) -> None:
    """Add ``--head`` to a parser."""
    meaning = "the head file of the avatar, if it is not the default one"
    parser.add_argument("--head", metavar="FILE", help=meaning)


def check(folder: Path) -> None:
    """Notice before anything is loaded that a folder holds no avatar.

    Raises:
        DataError: it does not.
    """
    if not (folder / FACTS).is_file():
        inside = sorted(path.parent for path in folder.glob(f"*/{FACTS}")) if folder.is_dir() else []
        known = (
            f"it holds folders of {len(inside)} avatars, such as {inside[0]}"
            if inside
            else "make one with `mosar reconstruct`"
        )
        raise DataError(f"{folder}: no avatar here, for there is no {FACTS}; {known}")


def default_picture(folder: Path, word: str, ending: str) -> Path:
    """A file in the current folder that is named after the avatar's folder and a word."""
    safe = "".join(c if c.isalnum() or c in "-,." else "-" for c in word)
    return Path(f"{folder.resolve().name}-{safe}{ending}")
