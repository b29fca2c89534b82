"""A stage that fails after some steps."""

from mosar.models.stages import toy

Config = toy.Config


class Stage(toy.Stage):
    name = "broken"
