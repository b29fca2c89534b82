"""Make the bundle that the program ships from an assembled one: 8 or 16 bits a weight, without what lies beside it.

python jobs/release.py bundle=mine
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosar import bundle
from mosar.errors import BundleError, ConfigError
from mosar.jobs import hydra_main
from mosar.platform import storage
from mosar.platform.storage import bundle as files_of

_CORRECTIONS = ("completion", "delight", "intrinsics", "normals")
"""Stages whose networks answer with small corrections, for which 8 bits are enough."""


@dataclass(frozen=True)
class Release:
    """Attributes:

    bundle: name below ``bundles/`` of the storage root, absolute folder, or URI. Its head and its morphable model are
        the shipped ones.
    output: folder to write; by default the one that is shipped.
    storage: root of bundles; default: MOSAR_STORAGE, else ~/.mosar.
    """

    bundle: str
    output: str | None = None
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.bundle == bundle.RELEASED:
            raise ConfigError(
                f"bundle: got {bundle.RELEASED}, expected the assembled bundle that it shall be made from"
            )


def main(config: Release) -> None:
    from safetensors.torch import save

    from mosar.models import weights_file
    from mosar.models.morphable import pretrained
    from mosar.platform.storage import digest

    location = bundle.locate(config.bundle, config.storage)
    opened = bundle.open_bundle(location)
    files, about = files_of.read_files(location)
    _check_shipped(opened, location)
    kept = {name: content for name, content in files.items() if not name.endswith(".safetensors")}
    del kept[bundle.HEAD]
    for name, module in opened.modules.items():
        if name != "morphable":
            own = {key: v for key, v in module.state_dict().items() if not key.startswith("morphable.")}
            smaller = weights_file.compact if name in _CORRECTIONS else weights_file.half
            kept[f"{name}.safetensors"] = save(smaller(own))
    about = _without_places(about)
    shipped = {"head": opened.head.digest, "morphable": digest.of_file(str(pretrained.DEFAULT_PATH))}
    output = Path(config.output or bundle.locate(bundle.RELEASED, None))
    with tempfile.TemporaryDirectory() as folder:
        found = files_of.write_files(folder, kept, {**about, "shipped": shipped})
        _check_finite(bundle.open_bundle(folder), location)
        made = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    for path in output.glob("*"):  # of an earlier release
        if path.name not in made and path.is_file():
            path.unlink()
    storage.replace_folder(output, made)
    print(f"{output}: bundle {found[:12]}, {sum(map(len, made.values())) / 1e6:.1f} MB")


def _check_finite(opened: bundle.Bundle, location: str) -> None:
    """Check that half precision held every weight."""
    for name, module in opened.modules.items():
        wrong = [key for key, value in module.state_dict().items() if not bool(value.isfinite().all())]
        if wrong:
            raise BundleError(f"{location}: {name}: {wrong[0]} has values that half precision cannot hold")


def _without_places(facts: Any) -> Any:
    """The same facts without locations, which say where something lay on the machine that trained."""
    if isinstance(facts, dict):
        return {key: _without_places(value) for key, value in facts.items() if key not in {"location", "path"}}
    return facts


def _check_shipped(opened: bundle.Bundle, location: str) -> None:
    """Check that head and morphable model are those that the program ships."""
    import torch

    from mosar.models.head import load_head
    from mosar.models.morphable import pretrained

    if opened.head.digest != load_head().digest:
        raise BundleError(f"{location}: has another head than the shipped one; train its stages on the shipped head")
    theirs = pretrained.load(opened.head).state_dict()
    ours = opened.modules["morphable"].state_dict()
    if ours.keys() != theirs.keys() or not all(torch.equal(ours[name], theirs[name]) for name in theirs):
        raise BundleError(
            f"{location}: has another morphable model than the shipped one; train geometry with "
            "parents.morphable=shipped, or ship its model first (jobs/export_weights.py)"
        )


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Release, "release"))
