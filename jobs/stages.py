"""Look up stages by name: build them, load their trained runs, and decode their samples."""

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mosar.config import parse, to_mapping
from mosar.errors import ConfigError
from mosar.jobs import shipped
from mosar.platform.data.stream import Decode
from mosar.platform.runs import run
from mosar.platform.training.stage import Stage, StreamSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


def make(name: str, model: Mapping[str, Any], head: str | None) -> Stage:
    """Return the stage ``name`` with the model configuration ``model``, on the default head or the head at ``head``.

    Raises:
        ConfigError: the stage does not exist, or its configuration is not valid.
    """
    from mosar.models.head import load_head

    package = _package(name)
    stage: Stage = package.Stage(parse(package.Config, model, "model"), load_head(head))
    return stage


def requires(name: str) -> tuple[str, ...]:
    """Stages whose weights the stage ``name`` needs; raises ConfigError if there is no such stage."""
    required: tuple[str, ...] = _package(name).Stage.requires
    return required


def model_config(name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the full configuration of a stage's model, defaults included; raises ConfigError as :func:`make` does."""
    return to_mapping(parse(_package(name).Config, model, "model"))


def configs(values: Mapping[str, Any]) -> dict[str, type]:
    """Title -> dataclass of the model: of the stage that ``values`` name, else of all stages, for ``--help``."""
    from mosar.jobs import hydra_main

    chosen = values.get("stage")
    names = [chosen] if chosen in hydra_main.stage_names() else hydra_main.stage_names()
    return {f"stage {name}": _package(name).Config for name in names}


def build(
    name: str, model: Mapping[str, Any], head: str | None, parents: Mapping[str, str]
) -> "tuple[Stage, nn.Module]":
    """Return the stage and its freshly initialised module; ``parents``: required stage -> its run."""
    stage = make(name, model, head)
    return stage, stage.build({parent: _parent(location, head) for parent, location in parents.items()})


def _parent(location: str, head: str | None) -> "nn.Module":
    return shipped.module(head) if location == shipped.SHIPPED else trained(location)[1]


def trained(location: str) -> "tuple[Stage, nn.Module]":
    """Return the stage of a finished run and its trained module, in evaluation mode.

    Raises:
        DataError: the run does not exist, is not finished, or was altered.
    """
    fingerprint = run.fingerprint(location)
    parents = {name: parent["location"] for name, parent in fingerprint["parents"].items()}
    stage, module = build(fingerprint["stage"], fingerprint["model"], fingerprint["head"]["path"], parents)
    module.load_state_dict(run.weights(location))
    return stage, module.eval()


def head_digest(head: str | None) -> str:
    from mosar.models.head import load_head

    return load_head(head).digest


def decoder(spec: StreamSpec, augment: bool) -> Decode:
    """Return the function that decodes the samples of a stream, for :func:`mosar.platform.training.trainer.prepare`."""
    return functools.partial(_decode, spec.fields, spec.map_size, spec.crop_size, augment)


def _decode(
    fields: tuple[str, ...], map_size: int, crop_size: int, augment: bool, members: Mapping[str, bytes], seed: int
) -> "dict[str, NDArray[Any]]":
    """Decode one sample; the decoder is imported here because this function runs on the readers."""
    from mosar.datasets.decode import DecodeSpec, decode

    return decode(members, DecodeSpec(fields, map_size, crop_size, augment), seed)


def _package(name: str) -> Any:
    package = f"mosar.models.stages.{name}"
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ConfigError(f"stage: got {name!r}, expected a package in models/stages/") from error
