"""A stage that reads a data set of its own, so that it alone fails where that is damaged."""

from types import SimpleNamespace

from mosar.models.stages import toy

Config = toy.Config


class Stage(toy.Stage):
    name = "broken"

    def __init__(self, config: Config, head: object) -> None:
        super().__init__(config, head)
        fields = {"fields": ("x", "y"), "map_size": 1, "crop_size": 1}
        self.streams = {"damaged": SimpleNamespace(proportion=1.0, augment=False, **fields)}
