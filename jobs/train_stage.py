"""Train one stage on Ray Train: stage=NAME preset=tiny|cpu|paper|finetune. Repeat it to continue an unfinished run.

``preset=finetune`` goes on from the shipped weights (``warm_start=released``), on the data of the preset tiny.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mosar.datasets import schema
from mosar.errors import ConfigError, DataError
from mosar.jobs import hydra_main, shipped, stages, warm_start
from mosar.jobs.inspection.schema_version import other_version
from mosar.platform import cluster, storage
from mosar.platform.data.manifest import open_manifest
from mosar.platform.monitoring import mlflow_tracker, tensorboard
from mosar.platform.monitoring.progress import Row, following
from mosar.platform.runs import run
from mosar.platform.training import graceful_stop, trainer
from mosar.platform.training.run_spec import RunSpec
from mosar.platform.training.stage import Stage
from mosar.platform.training.train_config import TrainConfig

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainStage:
    """Attributes:

    stage: stage to train; ``jobs/config/recipe/<stage>/<preset>.yaml`` is its recipe.
    preset: size of the training.
    train: settings of the training.
    model: configuration of the stage's model. With ``warm_start``, keys that are not given are those of the weights.
    storage: root of data and runs; default: MOSAR_STORAGE, else ~/.mosar.
    run: name of the run.
    head: head file to use instead of the default.
    data: stream -> name of its data set.
    parents: required stage -> name of its finished run; by default ``<stage>-<preset>``. ``morphable: shipped`` is the
        model that the program ships.
    warm_start: trained weights that a new run starts from, with their statistics, in place of random ones: ``released``
        (the bundle that the program ships), the name of a bundle, or the folder or URI of a bundle or a finished run.
        They need the same head, the same parents and a network of the same size.
    """

    stage: str
    preset: str
    train: TrainConfig
    model: Mapping[str, Any] = field(default_factory=dict)
    storage: str | None = None
    run: str = ""
    head: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    warm_start: str | None = None

    def __post_init__(self) -> None:
        names = {"run": self.run, **self.data, **self.parents}
        for key, name in names.items():
            if not name or "/" in name or name.startswith("."):
                raise ConfigError(f"{key}: got {name!r}, expected the name of a folder")


def main(config: TrainStage) -> None:
    spec = prepare(config)
    if run.summary(spec.location) is None:
        row = Row(spec.location, config.train.steps, "training")
        rows, locations = {config.run: row}, [spec.location]
        following_it = following(rows, also=followers(locations), apart=trackers(locations))
        with cluster.connect(), following_it, graceful_stop.on_signals() as asked:
            trainer.fit(spec, asked)
            row.state = "done"
    finished = run.summary(spec.location)
    assert finished is not None
    held_out = finished["heldout"]
    print(f"{spec.location}: {finished['steps']} steps, held-out loss {held_out['start']:.4g} -> {held_out['end']:.4g}")


def followers(locations: Sequence[str]) -> list[Callable[[], None]]:
    """Functions that update the TensorBoard event files and the curves of runs while they train."""
    return [
        follower(location).update for follower in (tensorboard.EventFile, tensorboard.Curves) for location in locations
    ]


def trackers(locations: Sequence[str]) -> list[Callable[[], None]]:
    """Functions that report runs to MLflow; none unless an MLflow server is configured."""
    return [mlflow_tracker.Tracker(location).update for location in locations] if mlflow_tracker.wanted() else []


def prepare(config: TrainStage) -> RunSpec:
    """Check the configuration, and create or continue its run.

    Raises:
        InputError: the configuration cannot be used; nothing has been started.
    """
    root = storage.root(config.storage)
    config, weights = with_weights(config)
    stage = stages.make(config.stage, config.model, config.head)
    unknown = sorted(set(config.parents) - set(stage.requires))
    if unknown:
        raise ConfigError(f"parents: stage {config.stage!r} does not require {unknown[0]!r}")
    parents = {parent: parent_location(config, parent) for parent in stage.requires}
    fingerprint: dict[str, Any] = {
        "stage": config.stage,
        "model": stages.model_config(config.stage, config.model),
        "head": {"path": config.head, "digest": stages.head_digest(config.head)},
        "parents": {parent: finished_parent(parent, location) for parent, location in parents.items()},
    }
    build = functools.partial(stages.build, config.stage, config.model, config.head, parents)
    start = None
    if weights is not None:
        fingerprint["warm_start"] = weights.fingerprint()
        start = _started(weights, fingerprint, build)
    data = {name: storage.join(root, "data", config.data[name]) for name in config.data if name in stage.streams}
    for location in data.values():
        _check_data(location, fingerprint["head"]["digest"])
    return trainer.prepare(
        location=storage.join(root, "runs", config.run),
        stage=stage,
        build=build,
        data=data,
        decoder=stages.decoder,
        config=config.train,
        fingerprint=fingerprint,
        start=start,
    )


def with_weights(config: TrainStage) -> tuple[TrainStage, warm_start.Weights | None]:
    """The weights that the run starts from, if any, and the configuration with their model where it names none.

    Raises:
        ConfigError, BundleError: there are no such weights.
    """
    if config.warm_start is None:
        return config, None
    weights = warm_start.find(config.warm_start, config.stage, config.storage)
    return dataclasses.replace(config, model=warm_start.model_from(weights, config.model)), weights


def _started(
    weights: warm_start.Weights, fingerprint: Mapping[str, Any], build: "Callable[[], tuple[Stage, nn.Module]]"
) -> "Callable[[nn.Module], None]":
    """The function that starts a run from trained weights, after a try with a module that is thrown away."""
    warm_start.check_head(weights, fingerprint["head"]["digest"])
    parents = {name: parent["weights_sha256"] for name, parent in fingerprint["parents"].items()}
    start = functools.partial(warm_start.fill, weights, fingerprint["model"], parents)
    start(build()[1])
    return start


def _check_data(location: str, head_digest: str) -> None:
    """Check that a data set has this version's schema and, if it records its head, that it was made with this head."""
    about = open_manifest(location).about
    if about.get("schema_version") != schema.VERSION:
        raise DataError(other_version(location, about))
    made_with = about.get("recipe", {}).get("head", head_digest)
    if made_with != head_digest:
        raise DataError(
            f"{location} was made with another head (sha256 {made_with[:12]}) than the one to train on "
            f"({head_digest[:12]}); make the data set again, or give its head (head=...)"
        )


def parent_location(config: TrainStage, parent: str) -> str:
    """Location of the run of a stage that this one requires."""
    name = config.parents.get(parent, f"{parent}-{config.preset}")
    if name == shipped.SHIPPED:
        shipped.check(parent)
        return name
    return storage.join(storage.root(config.storage), "runs", name)


def finished_parent(stage: str, location: str) -> dict[str, str]:
    """Location and digest of the weights of a finished run. Raises ConfigError if it is not finished."""
    if location == shipped.SHIPPED:
        return shipped.parent()
    finished = run.summary(location)
    if finished is None:
        raise ConfigError(
            f"parents: the run {location} of stage {stage!r} is not finished; train it first, or name a finished one "
            f"(train_stage.py parents.{stage}=NAME)"
        )
    return {"location": location, "weights_sha256": finished["weights_sha256"]}


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, TrainStage, "train_stage", groups={"model": stages.configs}))
