"""Train all stages concurrently on one Ray cluster. Repeat the command to continue unfinished stages.

``preset=finetune`` goes on from the shipped weights, on the data of the preset tiny.
"""

import dataclasses
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mosar.config import parse
from mosar.errors import ConfigError, MosarError, RunError, StoppedError
from mosar.jobs import hydra_main, stages, train_stage
from mosar.jobs.train_stage import TrainStage
from mosar.platform import cluster, storage
from mosar.platform.monitoring import plots
from mosar.platform.monitoring.progress import Row, following
from mosar.platform.runs import run
from mosar.platform.training import dag, graceful_stop, resources, trainer
from mosar.platform.training.train_config import TrainConfig

_SHIPPED = ("segmentation",)
"""Stages that serve as the program ships them (``models/reconstruct/steps.py``): photographs are segmented before the
others are trained."""


@dataclass(frozen=True)
class TrainAll:
    """Attributes:

    preset: preset of every stage.
    stages: stages to train; by default all that have a recipe for the preset, without those in ``parents``, and without
        segmentation, whose shipped weights serve. Runs of stages that they require may be finished already.
    storage: root of data and runs; default: MOSAR_STORAGE, else ~/.mosar.
    head: head file to use instead of the default.
    data: stream -> name of its data set, if it is not the preset's.
    train: training keys that override the recipe of every stage.
    parents: required stage -> name of its finished run, in place of one that is trained here. ``morphable: shipped`` is
        the model that the program ships.
    warm_start: trained weights that every stage starts from, if not the recipe's: ``released``, the name of a bundle,
        or its folder or URI.
    """

    preset: str
    stages: tuple[str, ...] | None = None
    storage: str | None = None
    head: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    warm_start: str | None = None


def main(config: TrainAll) -> None:
    chosen = config.stages or [name for name in _with_recipe(config.preset) if name not in config.parents]
    jobs = {name: _job(name, config) for name in chosen}
    needs = {name: stages.make(name, job.model, job.head).requires for name, job in jobs.items()}
    if unknown := sorted(set(config.parents) - {parent for parents in needs.values() for parent in parents}):
        raise ConfigError(f"parents: no stage that is trained requires {unknown[0]!r}")
    runs = {name: storage.join(storage.root(config.storage), "runs", job.run) for name, job in jobs.items()}
    requires = {
        name: tuple(p for p in needs[name] if p in jobs and train_stage.parent_location(job, p) == runs[p])
        for name, job in jobs.items()
    }
    dag.check(requires)
    for name, job in jobs.items():
        for parent in sorted(set(needs[name]) - set(requires[name])):  # trained before, or shipped
            train_stage.finished_parent(parent, train_stage.parent_location(job, parent))
        waits = [parent for parent in requires[name] if run.summary(runs[parent]) is None]
        if waits and job.warm_start is not None:
            raise ConfigError(
                f"warm_start: the weights of {name} in {job.warm_start} need the {waits[0]} that they were trained on, "
                f"which would be trained anew; name it (parents.{waits[0]}=shipped or the name of a finished run)"
            )
        if not waits:
            train_stage.prepare(job)  # Report invalid input before anything starts.
    if all(run.summary(location) for location in runs.values()):
        print("every stage is trained already")
        return
    rows = {name: Row(runs[name], jobs[name].train.steps) for name in jobs}

    spans = {name: [(time.time(), "waiting")] for name in jobs}

    def report(name: str, state: str) -> None:
        rows[name].state = state
        spans[name].append((time.time(), state))

    locations = [*runs.values()]
    following_them = following(rows, also=train_stage.followers(locations), apart=train_stage.trackers(locations))
    with cluster.connect(), following_them, graceful_stop.on_signals() as asked:
        capacity = {resource: cluster.capacity(resource) for resource in ("CPU", "GPU")}
        for job in jobs.values():
            resources.check_capacity(job.train, capacity["CPU"])
        trainer.set_environment([job.train for job in jobs.values()])
        failed = dag.run(
            requires,
            lambda name: trainer.fit(train_stage.prepare(jobs[name]), asked),
            {name: resources.size(job.train, capacity["GPU"]) for name, job in jobs.items()},
            capacity,
            report,
        )
    picture = storage.join(storage.root(config.storage), "runs", f"timeline-{config.preset}.png")
    storage.write_bytes(picture, plots.timeline(spans, time.time()))
    print(f"{picture}: timeline of the stages")
    skipped = [name for name, row in rows.items() if row.state == "skipped"]
    if failed:
        unforeseen = next((error for error in failed.values() if not isinstance(error, MosarError)), None)
        lines = [f"{name}: {error}" for name, error in failed.items()]
        lines += [f"{name}: skipped, because a stage that it requires failed" for name in skipped]
        found = RunError(f"{len(failed)} of {len(jobs)} stages failed\n  " + "\n  ".join(lines))
        if unforeseen is not None:  # A bug: print the outcome of all stages, then raise it with its traceback.
            print(f"error: {found}", file=sys.stderr)
            raise unforeseen
        raise found
    stopped = [name for name, row in rows.items() if row.state == "stopped"]
    if stopped:
        raise StoppedError(f"{', '.join(stopped)}; the same command continues them")


def _job(name: str, config: TrainAll) -> TrainStage:
    """Return the configuration with which ``train_stage`` would train this stage."""
    values = hydra_main.compose("train_stage", [f"stage={name}", f"preset={config.preset}"])
    values["train"] |= config.train
    values["data"] |= config.data
    named = {parent: run_name for parent, run_name in config.parents.items() if parent in stages.requires(name)}
    values["parents"] = values.get("parents", {}) | named
    if config.warm_start is not None:
        values["warm_start"] = config.warm_start
    job = parse(TrainStage, values, name)
    job = dataclasses.replace(job, storage=config.storage, head=config.head)
    return train_stage.with_weights(job)[0]


def _with_recipe(preset: str) -> list[str]:
    names = [name for name in hydra_main.stage_names() if name not in _SHIPPED]
    found = [name for name in names if preset in hydra_main.presets(name)]
    if not found:
        raise ConfigError(f"preset: no stage has a recipe {preset!r} in jobs/config/recipe/")
    return found


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, TrainAll, "train_all", groups={"train": lambda _: {"overrides": TrainConfig}}))
