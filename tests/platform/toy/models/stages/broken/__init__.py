"""A stage with its own data set, so that it alone fails if that data set is damaged."""

from collections.abc import Mapping
from types import SimpleNamespace

import torch

from mosar.models.stages import toy

Config = toy.Config


class Stage(toy.Stage):
    name = "broken"

    def __init__(self, config: Config, head: object) -> None:
        super().__init__(config, head)
        fields = {"fields": ("x", "y"), "map_size": 1, "crop_size": 1}
        self.streams = {"damaged": SimpleNamespace(proportion=1.0, augment=False, **fields)}

    def losses(self, module: toy.Toy, batch: Mapping, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return {"loss": self.metrics(module, batch, generator)["loss"]}

    def metrics(self, module: toy.Toy, batch: Mapping, generator: torch.Generator) -> dict[str, torch.Tensor]:
        return super().metrics(module, {"lightstage": batch["damaged"]}, generator)
