"""Ray Train's trainer without its manager of data sets: the workers of a run read their streams themselves."""

from typing import Any

from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback


class StreamTrainer(TorchTrainer):
    """A TorchTrainer whose runs start no process for data sets that the trainer would hand out.

    Ray starts it for every group of workers, also if there is no data set, and has no public way to leave it out.
    """

    def _create_default_callbacks(self) -> list[Any]:
        made: list[Any] = super()._create_default_callbacks()
        return [one for one in made if not isinstance(one, DatasetsCallback)]
