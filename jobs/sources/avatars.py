"""Avatars as skins of virtual people: which of a folder's are good enough, and their albedo."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mosar.errors import ConfigError, DataError
from mosar.jobs.sources.photographs import split_of
from mosar.platform.storage import digest

if TYPE_CHECKING:
    from mosar.datasets.virtual_stage.photographed_skin import PhotographedSkin

_MAPS = ("diffuse", "confidence")
_LEAST_SHOWN = 0.25
"""Smallest share of forehead, cheeks and nose that an avatar has to show, directly or mirrored."""
_COLOURLESS = "no colours"
"""Part of the remark on photographs whose hues are assumed."""
_COARSE = 64
"""Texels a side on which an avatar is judged."""


@dataclass(frozen=True)
class Avatars:
    """Folders of usable avatars, sorted, the digest of their maps, and reason -> number of those left out."""

    places: tuple[str, ...]
    sha256: str
    left_out: dict[str, int]

    def of_split(self, split: str) -> tuple[str, ...]:
        """The avatars for people of a split, by name: training has its own, other splits share the rest."""
        return tuple(p for p in self.places if (split_of(Path(p).name) == "train") == (split == "train"))


def find(folder: str, excluded: frozenset[str] = frozenset()) -> Avatars:
    """The avatars below a folder, as ``mosar reconstruct PHOTO... -o FOLDER`` leaves them.

    Left out and counted are those whose name is excluded, of photographs without colours, of another format or head,
    those that show little of the face, and those that cannot be read.

    Raises:
        ConfigError: the folder does not exist, or has no usable avatar.
    """
    root = Path(folder).expanduser().absolute()
    if not root.is_dir():
        raise ConfigError(f"avatars: there is no folder {root}; make one with `mosar reconstruct PHOTO... -o {root}`")
    if (root / "avatar.json").exists():
        raise ConfigError(f"avatars: {root} is itself an avatar; expected a folder of such folders, one for each")
    places: list[str] = []
    contents: dict[str, list[str]] = {}
    left_out: dict[str, int] = {}
    for place in sorted(file.parent for file in root.glob("*/avatar.json")):
        reason = "held out for evaluation" if place.name in excluded else _unusable(place)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        places.append(str(place))
        contents[place.name] = [digest.of_file(str(place / "maps" / f"{name}.png")) for name in _MAPS]
    if not places:
        told = "; ".join(f"{reason}: {count}" for reason, count in sorted(left_out.items()))
        raise ConfigError(f"avatars: {root} has no usable avatar{f' ({told})' if told else ''}")
    return Avatars(tuple(places), digest.of_json(contents), left_out)


def read_skin(place: str | Path) -> "PhotographedSkin":
    """The albedo of an avatar.

    Raises:
        DataError: a map is missing, damaged, or of a wrong type or size.
    """
    import torch

    from mosar.avatar import encode
    from mosar.datasets.virtual_stage.photographed_skin import PhotographedSkin
    from mosar.models.colour import to_linear

    maps: dict[str, Any] = {}
    for name, channels in zip(_MAPS, (3, 1), strict=True):
        file = Path(place) / "maps" / f"{name}.png"
        try:
            array = encode.read_png(file.read_bytes())
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror}); reconstruct the avatar again") from error
        side = len(array)
        if array.dtype != np.uint8 or array.shape != ((side, side, 3) if channels == 3 else (side, side)):
            raise DataError(f"{file}: got {array.dtype} {array.shape}, expected a square map of an avatar")
        maps[name] = array.astype(np.float32) / 255.0
    linear = to_linear(torch.from_numpy(maps["diffuse"])).numpy()
    return PhotographedSkin(Path(place).name, linear, maps["confidence"])


def _unusable(place: Path) -> str | None:
    """Why an avatar is left out; None if it is not."""
    from mosar.avatar.files import FORMAT
    from mosar.datasets.virtual_stage.photographed_skin import shown
    from mosar.datasets.virtual_stage.uv_regions import atlas
    from mosar.models.head import load_head

    head = load_head()
    try:
        facts = json.loads((place / "avatar.json").read_bytes())
        if facts["format"] != FORMAT or facts["head_digest"] != head.digest:
            return "of another format or head"
        if any(_COLOURLESS in remark for remark in facts["remarks"]):
            return "the photograph has no colours"
        share = shown(atlas(head, _COARSE), read_skin(place))
    except (OSError, ValueError, LookupError, TypeError, DataError):
        return "unreadable"
    return None if share >= _LEAST_SHOWN else "too little of the face is seen"
