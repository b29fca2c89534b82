"""The description of a training run that the driver sends to its workers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mosar.platform.data.stream import Source
from mosar.platform.training.stage import Stage
from mosar.platform.training.train_config import TrainConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class RunSpec:
    """Everything that a worker needs.

    Attributes:
        build: makes the stage and its module, with the parents' weights loaded.
        start: fills a new run's module with trained weights and their statistics, in place of ``fit_statistics``;
            None leaves the module as ``build`` made it. A run that resumes takes its checkpoint instead.
    """

    location: str
    build: Callable[[], "tuple[Stage, nn.Module]"]
    training: tuple[Source, ...]
    validation: tuple[Source, ...]
    config: TrainConfig
    submission: str
    fingerprint: Mapping[str, Any]
    start: "Callable[[nn.Module], None] | None" = None
