"""Stages by name: their classes, their recipes' models, their trained runs, and how their samples are decoded."""

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mosar.config import parse, to_mapping
from mosar.errors import ConfigError
from mosar.platform.data.stream import Decode
from mosar.platform.runs import run
from mosar.platform.training.stage import Stage, StreamSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


def make(name: str, model: Mapping[str, Any], head: str | None) -> Stage:
    """The stage ``name`` with its model's configuration, on the default head or the one at ``head``.

    Raises:
        ConfigError: there is no such stage, or its configuration is not valid.
    """
    from mosar.models.head import load_head

    package = _package(name)
    stage: Stage = package.Stage(parse(package.Config, model, "model"), load_head(head))
    return stage


def model_config(name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """The whole configuration of a stage's model, with its defaults; raises ConfigError as :func:`make`."""
    return to_mapping(parse(_package(name).Config, model, "model"))


def build(
    name: str, model: Mapping[str, Any], head: str | None, parents: Mapping[str, str]
) -> "tuple[Stage, nn.Module]":
    """The stage and its freshly initialised module; ``parents`` are the runs of the stages that it requires."""
    stage = make(name, model, head)
    return stage, stage.build({parent: trained(location)[1] for parent, location in parents.items()})


def trained(location: str) -> "tuple[Stage, nn.Module]":
    """The stage of a finished run and its trained module, in evaluation mode.

    Raises:
        DataError: the run is not there, not finished, or was altered.
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
    """How the samples of a stream are decoded, for :func:`mosar.platform.training.trainer.prepare`."""
    return functools.partial(_decode, spec.fields, spec.map_size, spec.crop_size, augment)


def _decode(
    fields: tuple[str, ...], map_size: int, crop_size: int, augment: bool, members: Mapping[str, bytes], seed: int
) -> "dict[str, NDArray[Any]]":
    """The decoder is imported where it runs: on the readers."""
    from mosar.datasets.decode import DecodeSpec, decode

    return decode(members, DecodeSpec(fields, map_size, crop_size, augment), seed)


def _package(name: str) -> Any:
    package = f"mosar.models.stages.{name}"
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ConfigError(f"stage: there is no {name!r} in models/stages/") from error
