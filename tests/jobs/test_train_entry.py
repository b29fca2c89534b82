"""The command line that all jobs share."""

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mosar.errors import ConfigError, RunError
from mosar.jobs import hydra_main, job_help, stages
from mosar.jobs.train_stage import TrainStage

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Inner:
    """How it trains.

    Attributes:
        lr: learning rate.
        steps: number of
            optimiser steps.
    """

    lr: float = 0.1
    steps: int = 5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps: got {self.steps}, expected at least 1")


@dataclass(frozen=True)
class Job:
    """Attributes:

    stage: what to train.
    preset: how large.
    model: sizes by name.
    train: how it trains.
    """

    stage: str
    preset: str
    model: Mapping[str, int] = field(default_factory=dict)
    train: Inner = field(default_factory=Inner)


@pytest.fixture
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = tmp_path / "recipe"
    for stage in ("one", "two"):
        (recipes / stage).mkdir(parents=True)
        for preset, steps in (("tiny", 7), ("cpu", 70)):
            (recipes / stage / f"{preset}.yaml").write_text(f"model: {{width: 3}}\ntrain: {{steps: {steps}}}\n")
    (tmp_path / "job.yaml").write_text(
        "defaults:\n  - stage: ???\n  - preset: tiny\n  - recipe@_global_: ${stage}/${preset}\n  - _self_\n"
    )
    monkeypatch.setattr(hydra_main, "CONFIG_FOLDER", tmp_path)
    monkeypatch.setattr(hydra_main, "RECIPES", recipes)


def run(*arguments: str) -> tuple[int, list[Job]]:
    seen: list[Job] = []
    return hydra_main.run(seen.append, Job, "job", arguments), seen


@pytest.mark.usefixtures("config_folder")
def test_stage_and_preset_choose_the_recipe_and_keys_go_on_top() -> None:
    assert run("stage=one") == (0, [Job("one", "tiny", {"width": 3}, Inner(steps=7))])
    assert run("preset=cpu", "train.lr=1", "stage=two", "model.depth=2") == (
        0,
        [Job("two", "cpu", {"width": 3, "depth": 2}, Inner(lr=1.0, steps=70))],
    )


@pytest.mark.usefixtures("config_folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "one"], "got '--stage'; keys are given as key=value, such as train.steps=10; --help lists them"),
        ([], "You must specify 'stage', e.g, stage=<OPTION> Available options: one two"),
        (["stage=three"], "Could not find 'stage/three' Available options in 'stage': one two"),
        (["stage=one", "preset=huge"], "Could not find 'preset/huge' Available options in 'preset': cpu tiny"),
        (["stage=one", "train.step=3"], "job.train: unknown key 'step'; expected one of lr, steps"),
        (["stage=one", "color=red"], "job: unknown key 'color'; expected one of"),
        (["stage=one", "train.steps=many"], "job.train.steps: got 'many' (str), expected int"),
        (["stage=one", "train.steps=0"], "steps: got 0, expected at least 1"),
        (["stage=one", "train.lr=[1,"], "no viable alternative at input '[1,'"),
        (["stage=one", "nonsense"], "got 'nonsense'; keys are given as key=value"),
    ],
)
def test_invalid_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == (2, [])
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("error: ")
    assert written.err.count("\n") == 1
    assert message in written.err


@pytest.mark.usefixtures("config_folder")
def test_a_failed_run_is_exit_code_1_and_a_bug_is_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: Job) -> None:
        raise RunError("stage one stopped")

    def buggy(_: Job) -> None:
        raise KeyError("bug")

    assert hydra_main.run(fails, Job, "job", ["stage=one"]) == 1
    assert capsys.readouterr().err == "failed: stage one stopped\n"
    with pytest.raises(KeyError):
        hydra_main.run(buggy, Job, "job", ["stage=one"])


@pytest.mark.usefixtures("config_folder")
@pytest.mark.parametrize(
    ("arguments", "steps", "told"),
    [
        (["stage=one", "preset=cpu"], 70, "stage=one"),
        ([], 5, "one          presets cpu, tiny"),
        (["stage=three"], 5, "error: "),
        (["--stage"], 5, "error: got '--stage'"),
        (["stage=one", "train.steps=0"], 5, "error: steps: got 0"),
    ],
)
def test_help_prints_every_key_with_default_and_meaning(
    arguments: list[str], steps: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--help") == (0, [])
    text = capsys.readouterr().out
    assert "python jobs/job.py" in text
    assert told in text
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"train.steps={steps} number of optimiser steps." in lines
    assert "train.lr=0.1 learning rate." in lines


def every_config() -> Iterator[tuple[str, type]]:
    """Name and dataclass of each job, of each stage's model, and of each benchmark, evaluation and drill."""
    for path in sorted((ROOT / "jobs" / "config").glob("*.yaml")):
        if path.stem in {"bench", "evaluate", "drill"}:
            continue
        module = importlib.import_module(f"mosar.jobs.{path.stem}")
        yield path.stem, typing.get_type_hints(module.main)["config"]
    for package in ("benchmarks", "evaluation", "fault_injection.drills"):
        name = f"mosar.jobs.{package}"
        for found in pkgutil.iter_modules(importlib.import_module(name).__path__):
            yield found.name, importlib.import_module(f"{name}.{found.name}").Config
    yield from stages.configs({}).items()


def keys(config_class: type) -> Iterator[tuple[type, str]]:
    for key in dataclasses.fields(config_class):
        yield config_class, key.name
        inner = job_help._inner(typing.get_type_hints(config_class)[key.name])
        if inner is not None:
            yield from keys(inner)


def test_every_key_of_every_job_has_a_meaning() -> None:
    for name, config_class in every_config():
        for owner, key in keys(config_class):
            assert job_help.meanings(owner).get(key), f"{name}: {owner.__name__}.{key}"


def test_the_real_help_has_the_keys_of_all_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert hydra_main.run(print, TrainStage, "train_stage", ["--help"], groups={"model": stages.configs}) == 0
    text = capsys.readouterr().out
    for key in ("model.critic.weight=", "model.identity_codes=", "train.checkpoint_every=", "run=${stage}-${preset}"):
        assert key in text
    assert max(map(len, text.splitlines())) <= 120
