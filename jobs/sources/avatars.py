"""Avatars as skins of virtual people: which of a folder's are good enough, and their albedo."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mosar.errors import ConfigError
from mosar.platform.storage import digest

if TYPE_CHECKING:
    from mosar.datasets.virtual_stage.photographed_skin import PhotographedSkin

_LEAST_SEEN = 0.35
"""Smallest share of the chart that the photograph has to show, directly or mirrored."""
_COLOURLESS = "no colours"
"""Part of the remark on photographs whose hues are assumed."""


@dataclass(frozen=True)
class Avatars:
    """Folders of usable avatars, sorted, the digest of their content, and reason -> number of those left out."""

    places: tuple[str, ...]
    sha256: str
    left_out: dict[str, int]


def find(folder: str) -> Avatars:
    """The avatars below a folder, as ``mosar reconstruct PHOTO... -o FOLDER`` leaves them.

    Left out are those of photographs without colours, and those that show little of the face.

    Raises:
        ConfigError: the folder does not exist, or has no usable avatar.
    """
    if not Path(folder).is_dir():
        raise ConfigError(
            f"avatars: there is no folder {folder}; make one with `mosar reconstruct PHOTO... -o {folder}`"
        )
    places: list[str] = []
    contents: dict[str, Any] = {}
    left_out: dict[str, int] = {}
    for file in sorted(Path(folder).glob("*/avatar.json")):
        reason = _unusable(file)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        places.append(str(file.parent))
        contents[file.parent.name] = [
            digest.of_file(str(file.parent / name)) for name in ("maps/diffuse.png", "maps/confidence.png")
        ]
    if not places:
        told = "; ".join(f"{reason}: {count}" for reason, count in sorted(left_out.items()))
        raise ConfigError(f"avatars: {folder} has no usable avatar{f' ({told})' if told else ''}")
    return Avatars(tuple(places), digest.of_json(contents), left_out)


def read_skin(place: str) -> "PhotographedSkin":
    """The albedo of an avatar.

    Raises:
        DataError: files are missing or damaged, or the avatar has another head.
    """
    from mosar.avatar.files import open_avatar
    from mosar.datasets.virtual_stage.photographed_skin import PhotographedSkin

    maps = open_avatar(place).maps
    return PhotographedSkin(
        Path(place).name,
        np.ascontiguousarray(maps.diffuse[0].permute(1, 2, 0).numpy(), np.float32),
        np.ascontiguousarray(maps.confidence[0, 0].numpy(), np.float32),
    )


def _unusable(file: Path) -> str | None:
    """Why an avatar is left out; None if it is not."""
    try:
        facts = json.loads(file.read_bytes())
        shares = facts["confidence"]
        shown = float(shares["seen"]) + float(shares["mirrored"])
        remarks = " ".join(facts["remarks"])
    except (OSError, ValueError, LookupError, TypeError):
        return "unreadable"
    if _COLOURLESS in remarks:
        return "the photograph has no colours"
    return None if shown >= _LEAST_SEEN else "too little of the face is seen"
