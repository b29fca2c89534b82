"""Measure the cost of the platform in training: waiting for data, scaling to two workers, and overhead per step.

Waiting and scaling are measured on the stages' own recipes; the worst stage counts. Waiting is the worse of one worker
and two. Without ``data`` the benchmark makes the little data and the hardly trained parents that it needs: neither
values nor weights change the time of a step. The step is compared with a bare loop, on a stage of matrix products (one
thread, about 0.1 s per step). ``products_scaling_2_workers`` is the scaling of that stage, the hard case: the step is
short, and millions of weights must be synchronised.
"""

import functools
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mosar.config import parse
from mosar.errors import ConfigError
from mosar.jobs import hydra_main, make_shards, stages, train_stage
from mosar.jobs.fault_injection import toy
from mosar.jobs.make_shards import MakeShards
from mosar.jobs.train_stage import TrainStage
from mosar.platform import cluster, storage
from mosar.platform.data import stream
from mosar.platform.runs import run as runs
from mosar.platform.storage import digest
from mosar.platform.training import trainer
from mosar.platform.training.run_spec import RunSpec
from mosar.platform.training.stage import Batch, StreamSpec
from mosar.platform.training.train_config import TrainConfig

REQUIRED = ("data_wait_share", "scaling_2_workers", "platform_overhead")
_LOG_EVERY, _PRODUCTS_LOG_EVERY = 4, 10


@dataclass(frozen=True)
class Config:
    """Attributes:

    data: stream -> name of an existing data set; by default data sets of ``subjects`` people are made and removed.
    storage: with ``data``, the root of these data sets and of the finished parents of the stages.
    subjects: people on the light stage, and as many in the wild, of whom a quarter is held out.
    stages: stages to measure.
    preset: preset of these stages.
    stage_steps: steps of each of their runs.
    steps: steps of the matrix products.
    rounds: repetitions of every measurement.
    width: width of the matrix products.
    """

    data: Mapping[str, str] = field(default_factory=dict)
    storage: str | None = None
    subjects: int = 8
    stages: tuple[str, ...] = ("geometry", "delight")
    preset: str = "cpu"
    stage_steps: int = 24
    steps: int = 40
    rounds: int = 5
    width: int = 768

    def __post_init__(self) -> None:
        if self.storage and not self.data:
            raise ConfigError("storage: expected only with data=...; without it the data is made and removed")
        if not self.stages or self.subjects < 4 or min(self.rounds, self.width) < 1:
            raise ConfigError(f"got {self}; expected stages, at least 4 subjects, and positive rounds and width")
        if self.stage_steps < 2 * _LOG_EVERY or self.steps < 2 * _PRODUCTS_LOG_EVERY:
            raise ConfigError(
                f"got stage_steps {self.stage_steps}, steps {self.steps}; expected at least {2 * _LOG_EVERY}, "
                f"{2 * _PRODUCTS_LOG_EVERY}: the first lines of the metrics, which contain the start, do not count"
            )


@dataclass(frozen=True)
class Products:
    """A stage of matrix products, on the data of the toy stage."""

    width: int
    name: str = "products"
    requires: tuple[str, ...] = ()
    streams: Mapping[str, StreamSpec] = field(
        default_factory=lambda: {"labelled": toy.Spec(1.0, ("x", "y"), augment=False)}
    )

    def build(self, parents: Mapping[str, nn.Module]) -> nn.Module:
        layers = [layer for _ in range(3) for layer in (nn.Linear(self.width, self.width), nn.Tanh())]
        return nn.Sequential(nn.Linear(toy.WIDTH, self.width), *layers, nn.Linear(self.width, 1))

    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None: ...

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        x, y = batch["labelled"]["x"].repeat(32, 1), batch["labelled"]["y"].repeat(32)
        return {"fit": (module(x)[:, 0] - y).square().mean()}

    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": self.losses(module, batch, generator)["fit"]}

    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return batch["labelled"]["y"].square().mean()

    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        return torch.zeros(3, 2, 2)


def build(stage: Products) -> tuple[Products, nn.Module]:
    return stage, stage.build({})


def run(config: Config) -> dict[str, Any]:
    """Return the metrics: shares of time, speed ratios, and milliseconds per step."""
    folder = Path(tempfile.mkdtemp(prefix="mosar-bench-"))
    try:
        if not config.data:
            config = _with_data(config, folder)
        with cluster.connect():
            found = {name: _stage(config, name, folder) for name in config.stages}
            metrics = _products(config, folder, toy.make_data(str(folder), ("labelled",)))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    waits, scalings = zip(*found.values(), strict=True)
    metrics |= {"data_wait_share": max(waits), "scaling_2_workers": min(scalings)}
    for name, (wait, scaling) in found.items():
        metrics |= {f"{name}_data_wait_share": wait, f"{name}_scaling_2_workers": scaling}
    return metrics


def short(metrics: Mapping[str, Any]) -> list[str]:
    """The required metrics that were not measured."""
    return [f"{name} was not measured" for name in REQUIRED if not np.isfinite(metrics.get(name, np.nan))]


def _with_data(config: Config, folder: Path) -> Config:
    """Make data sets of the preset's picture sizes below ``folder``, and two steps of each parent of the stages."""
    values = hydra_main.compose("make_shards", ["source=virtual", f"preset={config.preset}"])
    held_out = config.subjects // 4
    people = {"train": config.subjects - held_out, "validation": held_out}
    few = {"subjects": people, "wild_subjects": people, "captures": 2, "shard": 8}
    values["presets"][config.preset] |= few
    values["storage"] = str(folder / "storage")
    make_shards.main(parse(MakeShards, values, "make_shards"))
    captures = {"source": "estimates", "captures": f"virtual-{config.preset}", "fit_steps": 1}
    make_shards.main(parse(MakeShards, {**values, **captures}, "make_shards"))
    names = {"lightstage": f"estimated-{config.preset}", "wild": f"wild-{config.preset}"}
    config = replace(config, storage=values["storage"], data=names)
    with cluster.connect():
        for stage in config.stages:
            _train_parents(config, stage)
    return config


def _train_parents(config: Config, stage: str) -> None:
    for parent in stages.make(stage, _values(config, stage, {})["model"], None).requires:
        _train_parents(config, parent)
        spec = _spec(config, parent, f"{parent}-{config.preset}", {"steps": 2, "workers": 1})
        if runs.summary(spec.location) is None:
            trainer.fit(spec)


def _products(config: Config, folder: Path, data: Mapping[str, str]) -> dict[str, Any]:
    """Time a step with one worker, with two, and without the platform, alternating."""
    stage = Products(config.width)
    seconds: dict[str, list[float]] = {"one": [], "two": [], "bare": []}
    for turn in range(config.rounds):
        for name, workers in (("one", 1), ("two", 2)):
            train = TrainConfig(
                steps=config.steps, batch=32, workers=workers, slices=2, log_every=_PRODUCTS_LOG_EVERY,
                evaluate_every=10_000, checkpoint_every=10_000, evaluate_batches=1, calibrate_batches=0,
            )  # fmt: skip
            location = str(folder / f"{name}-{turn}")
            build_it = functools.partial(build, stage)
            trainer.fit(trainer.prepare(location, stage, build_it, data, toy.decoder, train, {}))
            seconds[name].append(_step_seconds(location))
            if name == "one":
                spec = trainer.prepare(f"{location}-bare", stage, build_it, data, toy.decoder, train, {})
                seconds["bare"].append(_bare(stage, spec.training, train))
        print(f"round {turn}: " + ", ".join(f"{k} {1e3 * v[-1]:.1f} ms" for k, v in seconds.items()), flush=True)
    one, two, bare = (np.array(seconds[name]) for name in ("one", "two", "bare"))
    return {
        "products_scaling_2_workers": float(np.median(one / two)),
        "platform_overhead": float(np.median(one / bare)),
        "step_ms": float(np.median(one)) * 1e3,
    }


def _step_seconds(location: str) -> float:
    """Median seconds per step over the lines of the metrics, without the first (start-up)."""
    rates = [line["steps_per_s"] for line in runs.metrics(location) if "steps_per_s" in line]
    return float(np.median(1 / np.array(rates[1:])))


def _bare(stage: Products, sources: tuple[stream.Source, ...], train: TrainConfig) -> float:
    """Time the same step in a bare loop on pre-read batches, in its own process, because this one has Ray's threads."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        batches = [
            [{name: {f: v.numpy() for f, v in fields.items()} for name, fields in batch.items()} for batch in both]
            for both in _batches(sources, train)
        ]
        return pool.apply(_bare_loop, (stage.width, batches))


def _batches(sources: tuple[stream.Source, ...], train: TrainConfig) -> list[list[Any]]:
    found = []
    for step in range(train.steps):
        both = []
        for slice_ in range(train.cut):
            arrays = stream.read_steps(sources, range(step, step + 1), [slice_], train.cut)
            both.append({"labelled": {k.partition("/")[2]: torch.from_numpy(v[0]) for k, v in arrays.items()}})
        found.append(both)
    return found


def _bare_loop(width: int, batches: list[list[Any]]) -> float:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    stage = Products(width)
    module = stage.build({})
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=0.0)
    times = []
    for both in batches:
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        for batch in both:
            tensors = {name: {f: torch.from_numpy(v) for f, v in fields.items()} for name, fields in batch.items()}
            (stage.losses(module, tensors, torch.Generator())["fit"] / len(both)).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - begun)
    # Median over means of ten steps, like the lines of the platform's metrics.
    return float(np.median([np.mean(times[at : at + 10]) for at in range(10, len(times), 10)]))


def _stage(config: Config, name: str, folder: Path) -> tuple[float, float]:
    """Return medians of a stage's share of time waiting for data (the worse of one worker and two), and of the speed of
    two workers over one."""
    waits, scalings = [], []
    for turn in range(config.rounds):
        one, two = (_lines(config, name, folder, turn, workers) for workers in (1, 2))
        waits.append(max(np.mean([line["wait_share"] for line in lines]) for lines in (one, two)))
        scalings.append(np.median([line["steps_per_s"] for line in two]) / np.median([x["steps_per_s"] for x in one]))
        print(f"round {turn} of {name}: waits {waits[-1]:.4f}, two workers {scalings[-1]:.3f} x one", flush=True)
    return float(np.median(waits)), float(np.median(scalings))


def _lines(config: Config, name: str, folder: Path, turn: int, workers: int) -> list[dict[str, Any]]:
    """Return the lines of the metrics of a short run of a stage, without the first (start-up)."""
    run = f"bench-{name}-{digest.of_bytes(str(folder).encode())[:8]}-{turn}-{workers}"
    spec = _spec(config, name, run, {"steps": config.stage_steps, "workers": workers})
    try:
        trainer.fit(spec)
        return [line for line in runs.metrics(spec.location) if "wait_share" in line][1:]
    finally:
        storage.remove(spec.location)


def _spec(config: Config, stage: str, run: str, train: Mapping[str, Any]) -> RunSpec:
    return train_stage.prepare(parse(TrainStage, _values(config, stage, train) | {"run": run}, stage))


def _values(config: Config, stage: str, train: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration of a short run of a stage by single-threaded workers, without checkpoints on the way."""
    values = hydra_main.compose("train_stage", [f"stage={stage}", f"preset={config.preset}"])
    values["train"] |= {
        "log_every": _LOG_EVERY, "evaluate_every": 10_000, "evaluate_batches": 1, "threads": 1, "slices": 2,
        "calibrate_batches": min(1, values["train"].get("calibrate_batches", 1)), "checkpoint_every": 10_000, **train,
    }  # fmt: skip
    values["data"] |= dict(config.data)
    return values | {"storage": storage.root(config.storage)}
