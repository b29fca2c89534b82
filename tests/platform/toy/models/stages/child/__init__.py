"""A stage that starts from the toy's trained weights."""

from collections.abc import Mapping

from torch import nn

from mosar.models.stages import toy

Config = toy.Config


class Stage(toy.Stage):
    name = "child"
    requires = ("toy",)

    def build(self, parents: Mapping[str, nn.Module]) -> toy.Toy:
        module = toy.Toy(self.config.width)
        module.load_state_dict(parents["toy"].state_dict())
        return module
