"""A linear regression with noise and dropout, on two streams: one with targets, one with inputs only."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from mosar.errors import ConfigError

VERSION = "one"


@dataclass(frozen=True)
class Config:
    width: int = 8
    pause_s: float = 0.0
    log: str = ""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"model.width: got {self.width}, expected at least 1")


class Toy(nn.Module):
    mean_c: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(0.1), nn.Linear(width, 1))
        self.unused = nn.Parameter(torch.zeros(1 << 19))  # gets no gradient; 2 MB, so that a full disk is noticed
        self.register_buffer("mean_c", torch.zeros(4))

    def forward(self, x_bc: Tensor) -> Tensor:
        return self.layers(x_bc - self.mean_c)[:, 0]


class Stage:
    name = "toy"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: object) -> None:
        self.config = config
        common = {"map_size": 1, "crop_size": 1}
        self.streams = {
            "lightstage": SimpleNamespace(proportion=0.75, fields=("x", "y"), augment=True, **common),
            "wild": SimpleNamespace(proportion=0.25, fields=("x",), augment=False, **common),
        }

    def build(self, parents: Mapping[str, nn.Module]) -> Toy:
        return Toy(self.config.width)

    def fit_statistics(self, module: Toy, batches: Iterable) -> None:
        module.mean_c.copy_(torch.cat([batch["lightstage"]["x"] for batch in batches]).mean(dim=0))

    def losses(self, module: Toy, batch: Mapping, generator: torch.Generator) -> dict[str, Tensor]:
        time.sleep(self.config.pause_s)
        if self.config.log:
            with Path(self.config.log).open("a") as file:
                file.write(f"{os.getpid()} {VERSION}\n")
        sample = batch["lightstage"]
        noise = 0.01 * torch.randn(sample["x"].shape, generator=generator)
        smooth = module(batch["wild"]["x"]).square().mean()
        return {
            "fit": (module(sample["x"].add_(noise)) - sample["y"]).square().mean(),
            "smooth": 1e-3 * smooth,
        }

    def metrics(self, module: Toy, batch: Mapping, generator: torch.Generator) -> dict[str, Tensor]:
        sample = batch["lightstage"]
        return {"loss": (module(sample["x"]) - sample["y"]).square().mean()}

    def baseline(self, module: Toy, batch: Mapping, generator: torch.Generator) -> Tensor:
        return batch["lightstage"]["y"].square().mean()

    def preview(self, module: Toy, batch: Mapping, generator: torch.Generator) -> Tensor:
        return torch.full((3, 4, 4), 0.5)
