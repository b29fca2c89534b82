"""The command line that all jobs share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mosar.errors import ConfigError, RunError
from mosar.jobs import hydra_main


@dataclass(frozen=True)
class Inner:
    lr: float = 0.1
    steps: int = 5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"steps: got {self.steps}, expected at least 1")


@dataclass(frozen=True)
class Job:
    """A job for tests."""

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
        ([], "You must specify 'stage', e.g, stage=<OPTION> Available options: one two"),
        (["stage=three"], "Could not find 'stage/three' Available options in 'stage': one two"),
        (["stage=one", "preset=huge"], "Could not find 'preset/huge' Available options in 'preset': cpu tiny"),
        (["stage=one", "train.step=3"], "job.train: unknown key 'step'; expected one of lr, steps"),
        (["stage=one", "color=red"], "job: unknown key 'color'; expected one of"),
        (["stage=one", "train.steps=many"], "job.train.steps: got 'many' (str), expected int"),
        (["stage=one", "train.steps=0"], "steps: got 0, expected at least 1"),
        (["stage=one", "train.lr=[1,"], "no viable alternative at input '[1,'"),
        (["stage=one", "nonsense"], "missing EQUAL"),
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
def test_help_prints_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help", "stage=one", "preset=cpu") == (0, [])
    text = capsys.readouterr().out
    assert "python jobs/job.py" in text
    assert "train:\n  lr: 0.1\n  steps: 70" in text
    assert run("--help") == (0, [])
    assert "Available options: one two" in capsys.readouterr().out
