"""Write and open bundles: the head, every stage's weights and configuration, and a model card."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mosar import config as configs
from mosar.errors import BundleError
from mosar.platform import storage
from mosar.platform.storage import bundle

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mosar.models.head import Head

HEAD = "head.npz"
CARD = "MODEL_CARD.md"
RELEASED = "released"
"""Name of the bundle that the program ships. It holds neither the head nor the morphable model, which lie beside it:
its manifest has their digests."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its digest, head, and trained modules by stage name, in evaluation mode."""

    digest: str
    head: "Head"
    modules: Mapping[str, "nn.Module"]
    about: Mapping[str, Any]


def locate(name: str, root: str | None) -> str:
    """The location of a bundle that is given as URI, folder, or name below ``bundles/`` of the storage root.

    ``"released"`` is the shipped one.
    """
    if name == RELEASED:
        return str(_released_path())
    if storage.is_uri(name) or Path(name).is_absolute():
        return name
    if (Path(name) / bundle.MANIFEST).is_file():
        return str(Path(name).absolute())
    return storage.join(storage.root(root), "bundles", name)


def _released_path() -> Path:
    from mosar import models

    return Path(next(iter(models.__path__))) / RELEASED


def write(
    location: str,
    head: bytes,
    weights: Mapping[str, bytes],
    stages: Mapping[str, Mapping[str, Any]],
    card: str,
    about: Mapping[str, Any],
    licences: Mapping[str, bytes] = MappingProxyType({}),
) -> str:
    """Write a bundle and return its digest.

    Args:
        location: folder or URI.
        head: content of the head file.
        weights: stage -> safetensors file.
        stages: stage -> configuration of its module.
        card: the model card, Markdown.
        about: further facts for the manifest.
        licences: file name -> text of licences that the head's shapes bring with them.
    """
    files = {HEAD: head, CARD: card.encode(), **licences} | {
        f"{name}.safetensors": content for name, content in weights.items()
    }
    return bundle.write_files(location, files, {**about, "stages": {k: dict(v) for k, v in stages.items()}})


def open_bundle(location: str, device: str = "cpu") -> Bundle:
    """Verify and load a bundle.

    Raises:
        BundleError: the bundle is missing, incomplete or altered, or was made by an incompatible version.
    """
    files, about = bundle.read_files(location)
    shipped = about.get("shipped", {})
    if not (HEAD in files or "head" in shipped) or not about.get("stages"):
        raise BundleError(f"{location}: the bundle lacks a head or stages; assemble it again with jobs/assemble.py")
    head = _head_of(files[HEAD]) if HEAD in files else _shipped_head(shipped["head"], location)
    modules: dict[str, nn.Module] = {}
    waiting = {name: _stage(name, values, head, location) for name, values in about["stages"].items()}
    while waiting:
        ready = [name for name, stage in waiting.items() if set(stage.requires) <= set(modules)]
        if not ready:
            raise BundleError(f"{location}: {', '.join(waiting)} need stages that the bundle lacks; assemble it again")
        for name in ready:
            stage = waiting.pop(name)
            if name in shipped:
                modules[name] = _shipped_morphable(shipped[name], head, location).to(device)
                continue
            module = stage.build(modules)
            try:
                inherited = {key: v for key, v in module.state_dict().items() if key.startswith(_prefixes(stage))}
                module.load_state_dict(inherited | read_weights(files[f"{name}.safetensors"]))
            except (KeyError, RuntimeError) as error:
                raise BundleError(
                    f"{location}: the weights of {name} do not fit this version; train and assemble the stages again"
                ) from error
            modules[name] = module.eval().requires_grad_(False).to(device)
    return Bundle(bundle.digest_of(location), head, modules, about)


def read_weights(content: bytes) -> "dict[str, Tensor]":
    """The weights of a stage's file in a bundle, which may hold them in 8 or 16 bits."""
    from safetensors.torch import load

    from mosar.models import weights_file

    return weights_file.expanded(load(content))


def _prefixes(stage: Any) -> tuple[str, ...]:
    """How the names of weights begin that a stage has from others, and that a bundle need not hold again."""
    return tuple(f"{name}." for name in stage.requires)


def _head_of(content: bytes) -> "Head":
    from mosar.models.head import load_head

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / HEAD
        path.write_bytes(content)
        return load_head(path)


def _shipped_head(digest: str, location: str) -> "Head":
    from mosar.models.head import load_head

    head = load_head()
    if head.digest != digest:
        raise BundleError(f"{location}: the bundle belongs to another version of the program, with another head")
    return head


def _shipped_morphable(digest: str, head: "Head", location: str) -> "nn.Module":
    from mosar.models.morphable import pretrained
    from mosar.platform.storage import digest as digests

    if digests.of_file(str(pretrained.DEFAULT_PATH)) != digest:
        raise BundleError(
            f"{location}: the bundle belongs to another version of the program, with another morphable model"
        )
    return pretrained.load(head)


def _stage(name: str, values: Mapping[str, Any], head: "Head", location: str) -> Any:
    try:
        package = import_module(f"mosar.models.stages.{name}")
    except ImportError as error:
        raise BundleError(f"{location}: this version has no stage {name!r}; assemble the bundle again") from error
    return package.Stage(configs.parse(package.Config, values, f"{location}: {name}"), head)
