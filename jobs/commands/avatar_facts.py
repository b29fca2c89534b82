"""What the files of an avatar say."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosar.errors import DataError
from mosar.jobs.commands import facts_table
from mosar.jobs.commands.avatar_folder import FACTS
from mosar.jobs.commands.finished import FILES


def avatar_facts(folder: Path) -> str:
    """Text on the avatar in a folder.

    Raises:
        DataError: its avatar.json is damaged or lacks a fact.
    """
    try:
        found = json.loads((folder / FACTS).read_bytes())
        return facts_table.lines(_facts(folder, found))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / FACTS}: damaged or not of an avatar ({error}); reconstruct it again") from error


def _facts(folder: Path, found: Mapping[str, Any]) -> dict[str, str]:
    present = [folder / name for name in FILES if (folder / name).is_file()]
    lacking = [name for name in FILES if not (folder / name).is_file()]
    photo, tone, shares = found["photo"], found["tone"], found["confidence"]
    strongest = sorted(found["expression"].items(), key=lambda item: -item[1])[:5]
    made_from = found.get("made_from", {})
    return {
        "avatar": str(folder),
        "format": str(found["format"]),
        "written": facts_table.date(folder / FACTS),
        "size": f"{facts_table.size(sum(path.stat().st_size for path in present))} in {len(present)} files"
        + (f"; {', '.join(lacking)} are missing" if lacking else ""),
        "photograph": f"{photo['width']} x {photo['height']} pixels"
        + (f", sha256 {made_from['photograph_sha256']}" if made_from else ""),
        "bundle": found["bundle_digest"],
        "head": found["head_digest"],
        "settings": ", ".join(f"{k} {v}" for k, v in made_from.items() if k != "photograph_sha256" and v is not None),
        "albedo": _albedo(folder / "maps" / "diffuse.png"),
        "shown": ", ".join(f"{100 * share:.0f} % {name}" for name, share in shares.items()) + " of the skin's texels",
        "tone": f"{tone['albedo']:.2f} luminance of the skin's albedo, with 80 % probability from "
        f"{tone['low']:.2f} to {tone['high']:.2f}",
        "expression": ", ".join(f"{name} {weight:.2f}" for name, weight in strongest if weight >= 0.05) or "neutral",
        "took": f"{found['timings_s']['total']:.1f} s" if "total" in found["timings_s"] else "",
        "remarks": "; ".join(found["remarks"]) or "none",
    }


def _albedo(path: Path) -> str:
    from PIL import Image

    if not path.is_file():
        return ""
    with Image.open(path) as image:
        return f"{image.width} x {image.height} texels"
