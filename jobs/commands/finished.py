"""Avatars that are there already: ``avatar.json`` says of which photograph, bundle and settings they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosar import __version__
from mosar.errors import PhotographError
from mosar.platform.storage import digest

FILES = (
    "avatar.json", "avatar.npz", "avatar.glb", "mesh.obj", "mesh.mtl", "render.png", "mask.png", "sheet.png",
    *(f"maps/{name}.png" for name in ("diffuse", "specular", "ao", "translucency", "normal", "confidence")),
    "maps/eyes.png", "maps/mouth.png",
)  # fmt: skip
"""All files of an avatar."""


def origin(photograph: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What an avatar is made from, as its ``made_from`` records it: the photograph's sha256, settings and version.

    Raises:
        PhotographError: the file cannot be read.
    """
    try:
        photograph_sha256 = digest.of_file(str(photograph))
    except OSError as error:
        raise PhotographError(f"{photograph}: {error.strerror}; give an image file that can be read") from error
    return {"photograph_sha256": photograph_sha256, **settings, "version": __version__}


def is_finished(folder: Path, made_from: Mapping[str, Any], bundle_digest: str) -> bool:
    """Whether a folder holds the whole avatar of this origin by this bundle."""
    try:
        facts = json.loads((folder / "avatar.json").read_bytes())
    except (OSError, ValueError):
        return False
    same = isinstance(facts, dict) and facts.get("made_from") == made_from
    return same and facts.get("bundle_digest") == bundle_digest and all((folder / name).is_file() for name in FILES)
