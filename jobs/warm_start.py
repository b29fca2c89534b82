"""Trained weights that a new run starts from in place of random ones: ``train_stage.py warm_start=released``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mosar import bundle
from mosar.errors import BundleError, ConfigError, DataError
from mosar.platform import storage
from mosar.platform.runs import run
from mosar.platform.storage import bundle as bundles
from mosar.platform.storage import config_diff, digest

if TYPE_CHECKING:
    from torch import Tensor, nn

_EXPECTED = f"expected {bundle.RELEASED}, the name or the folder of a bundle, or the folder of a finished run"


@dataclass(frozen=True)
class Weights:
    """Trained weights of one stage in a bundle or a finished run.

    Attributes:
        stage: name of the stage.
        location: the bundle or the run; ``released`` stands for the bundle that the program ships, on every machine.
        file: name of the safetensors file in it.
        sha256: digest of this file.
        model: full configuration of the stage's model.
        head: digest of the head.
        parents: required stage -> digest of its weights, for those that the program ships and the file lacks.
    """

    stage: str
    location: str
    file: str
    sha256: str
    model: Mapping[str, Any]
    head: str
    parents: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.sha256) != 64 or len(self.head) == 0:
            raise BundleError(f"{self.location}: records no digest of {self.file} or of its head; assemble it again")

    def fingerprint(self) -> dict[str, str]:
        """What a run's fingerprint says of them."""
        return {"location": self.location, "weights_sha256": self.sha256}


def find(name: str, stage: str, root: str | None) -> Weights:
    """Look up the weights of ``stage``; their content is not read yet.

    Args:
        name: ``released``, the name of a bundle in ``bundles/`` of the storage root, or the folder or URI of a bundle
            or of a finished run.
        root: storage root, None for the default.

    Raises:
        ConfigError: there is no such bundle or run, or it has no weights of the stage.
        BundleError: the bundle's manifest cannot be used.
    """
    location = bundle.locate(name, root)
    if storage.exists(storage.join(location, bundles.MANIFEST)):
        return _in_bundle(bundle.RELEASED if name == bundle.RELEASED else location, stage)
    finished = run.summary(location)
    if finished is None:
        raise ConfigError(
            f"warm_start: got {name!r}, but {location} is neither a bundle nor a finished run; {_EXPECTED}"
        )
    about = run.fingerprint(location)
    if about["stage"] != stage:
        raise ConfigError(
            f"warm_start: {location} is a run of {about['stage']!r}, expected one of {stage!r}, or a bundle"
        )
    found, head = finished["weights_sha256"], about["head"]["digest"]
    return Weights(stage, location, run.WEIGHTS, found, about["model"], head, {})


def _in_bundle(location: str, stage: str) -> Weights:
    manifest = bundles.read_manifest(bundle.locate(location, None))
    files, about = manifest["files"], manifest["about"]
    shipped = {str(name): str(value) for name, value in about.get("shipped", {}).items()}
    if stage in shipped:
        raise ConfigError(
            f"warm_start: the bundle {location} holds no weights of {stage}, which the program ships: leave the stage "
            f"out and build the others on it (parents.{stage}=shipped)"
        )
    models, name = about.get("stages", {}), f"{stage}.safetensors"
    if stage not in models or name not in files:
        raise ConfigError(
            f"warm_start: the bundle {location} has no stage {stage!r}; it has {', '.join(sorted(models))}"
        )
    head = shipped.pop("head", None) or files.get(bundle.HEAD, {}).get("sha256", "")
    return Weights(stage, location, name, files[name]["sha256"], models[stage], head, shipped)


def model_from(weights: Weights, model: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a model: that of the weights, except where ``model`` says otherwise."""

    def over(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
        both = {k: over(first[k], v) for k, v in second.items() if isinstance(v, Mapping) and _is_group(first.get(k))}
        return {**first, **second, **both}

    return over(weights.model, model)


def _is_group(value: Any) -> bool:
    return isinstance(value, Mapping)


def check_head(weights: Weights, head: str) -> None:
    """Raises DataError if the weights belong to another head than the one with this digest."""
    if weights.head != head:
        raise DataError(
            f"warm_start: {weights.location} belongs to another head (sha256 {weights.head[:12]}) than the one to "
            f"train on ({head[:12]}); give its head (head=...), or leave warm_start out"
        )


def fill(weights: Weights, model: Mapping[str, Any], parents: Mapping[str, str], module: "nn.Module") -> None:
    """Load the weights, statistics included, into a module of the same stage, on any device.

    Args:
        model: full configuration of the module.
        parents: required stage -> digest of the weights that the module was built on.

    Raises:
        DataError: the file is missing, was altered, or belongs to other weights of a required stage.
        ConfigError: the network has another size.
    """
    from mosar.platform.training.learner import CRITIC

    for_training = (CRITIC, "source_")
    given, own = _read(weights), module.state_dict()
    inherited = {key: parent for key in own for parent in parents if key.startswith(f"{parent}.")}
    for parent in sorted(set(inherited.values())):
        keys = [key for key in own if inherited.get(key) == parent]
        held = [key for key in keys if key in given]
        same = weights.parents.get(parent) == parents[parent] if not held else _equal(own, given, keys)
        if not same:
            raise DataError(
                f"warm_start: {weights.stage} in {weights.location} was trained on other weights of {parent} than "
                f"those to train on; name the same ones (parents.{parent}=shipped or the name of a run)"
            )
    mine = {key: value for key, value in own.items() if key not in inherited}
    theirs = {key: value for key, value in given.items() if key not in inherited}
    # A critic judges, and a flag tells captures from photographs, only while networks train: where the given weights
    # lack them they start new, and where they are not wanted they are left.
    for key in [key for key in mine.keys() ^ theirs.keys() if key.startswith(for_training)]:
        mine.pop(key, None)
        theirs.pop(key, None)
    if odd := sorted(key for key in mine.keys() | theirs.keys() if _shape(mine, key) != _shape(theirs, key)):
        changes = config_diff.differences(dict(weights.model), dict(model), "model")
        what = "; ".join(f"{key}: {change}" for key, change in changes)
        raise ConfigError(
            f"warm_start: the network of {weights.stage} in {weights.location} has another size than the one to train "
            f"({what or f'the weights {odd[0]} differ'}); leave model.* out to train one of its size, or leave "
            "warm_start out"
        )
    module.load_state_dict({**own, **theirs})


def _read(weights: Weights) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = storage.join(bundle.locate(weights.location, None), weights.file)
    mend = "restore it, make the bundle or run again, or leave warm_start out"
    if not storage.exists(path):
        raise DataError(f"warm_start: {path} is missing; {mend}")
    content = storage.read_bytes(path)
    if digest.of_bytes(content) != weights.sha256:
        raise DataError(f"warm_start: {path} was altered (its sha256 is not the recorded one); {mend}")
    try:
        return load(content) if weights.file == run.WEIGHTS else bundle.read_weights(content)
    except SafetensorError as error:
        raise DataError(f"warm_start: {path}: not safetensors ({error}); {mend}") from error


def _equal(first: "Mapping[str, Tensor]", second: "Mapping[str, Tensor]", keys: list[str]) -> bool:
    return all(key in second and first[key].cpu().equal(second[key]) for key in keys)


def _shape(state: "Mapping[str, Tensor]", key: str) -> tuple[int, ...] | None:
    return tuple(state[key].shape) if key in state else None
