"""What the manifest and the model card of a bundle say."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosar.bundle import CARD
from mosar.errors import DataError
from mosar.jobs.commands import facts_table
from mosar.platform import storage
from mosar.platform.storage import bundle as bundles

_SENTENCE = re.compile(r"^\*\*Trained on.*?\.(?=\s|$)", re.MULTILINE | re.DOTALL)
"""What the model card says of the training data."""


def bundle_facts(location: str) -> str:
    """Text on the bundle at a location; its files are not verified.

    Raises:
        BundleError: there is no bundle.
    """
    manifest = bundles.read_manifest(location)
    about, files = manifest["about"], manifest["files"]
    local = not storage.is_uri(location)
    whole = sum(row["bytes"] for row in files.values())
    facts = {
        "bundle": location,
        "digest": bundles.digest_of(location),
        "written": facts_table.date(Path(location) / bundles.MANIFEST) if local else "",
        "size": f"{facts_table.size(whole)} in {len(files)} files",
        "head": files.get("head.npz", {}).get("sha256", "") or about.get("shipped", {}).get("head", ""),
        "preset": str(about.get("preset", "")),
        "trained on": _training_data(location),
    }
    return "\n".join([facts_table.lines(facts), "", *_stages(about, files)])


def _training_data(location: str) -> str:
    try:
        card = storage.read_bytes(storage.join(location, CARD)).decode(errors="replace")
    except DataError:
        return "not said: the bundle has no model card"
    found = _SENTENCE.search(card)
    if found is None:
        return f"not said; {CARD} says: " + " ".join(card.removeprefix("# Model card").split())
    return " ".join(found[0].replace("**", "").removeprefix("Trained on ").split())


def _stages(about: Mapping[str, Any], files: Mapping[str, Any]) -> list[str]:
    """A table of the stages; held-out figures where the manifest has them."""
    heading = "held-out loss: start, end, best that ignores the input"
    lines = [f"{'stage':<14}{'size':>9}{'steps':>9}  {heading:<56}data"]
    for name in about.get("stages", {}):
        weights = files.get(f"{name}.safetensors")
        run = about.get("runs", {}).get(name, {})
        heldout = run.get("heldout", {})
        figures = ", ".join(f"{heldout[key]:.4g}" for key in ("start", "end", "baseline") if key in heldout)
        sets = about.get("data", {}).get(name, {})
        data = ", ".join(f"{stream} {found['digest'][:12]}" for stream, found in sets.items())
        held = facts_table.size(weights["bytes"]) if weights else "shipped" if name in about.get("shipped", {}) else "-"
        lines.append(f"{name:<14}{held:>9}{run.get('steps', '-'):>9}  {figures or '-':<56}{data or '-'}")
    return lines
