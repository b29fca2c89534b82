"""Training all stages: checks before anything starts."""

from pathlib import Path

import pytest
import torch

from mosar.errors import ConfigError
from mosar.jobs import hydra_main, train_all, train_stage
from mosar.jobs.train_all import TrainAll
from mosar.platform.runs import run


def test_finished_stages_must_match_their_recipes_and_parents(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").symlink_to(storage / "data")
    config = TrainAll("tiny", ("morphable", "geometry"), str(tmp_path))
    for name in ("morphable", "geometry"):
        job = train_all._job(name, config)
        spec = train_stage.prepare(job)
        run.begin(spec.location, spec.fingerprint)
        run.finish(spec.location, {"weight": torch.zeros(1)}, {})
    train_all.main(config)
    assert capsys.readouterr().out == "every stage is trained already\n"

    def edited(job: str, arguments: list[str]) -> dict[str, object]:
        values = compose(job, arguments)
        values["train"] |= {"lr": 0.123} if values["stage"] == "geometry" else {}
        return values

    with monkeypatch.context() as patch:
        compose = hydra_main.compose
        patch.setattr(hydra_main, "compose", edited)
        with pytest.raises(ConfigError, match=r"geometry-tiny was begun with another .*train\.lr: .* -> 0\.123"):
            train_all.main(config)
    run.finish(str(tmp_path / "runs" / "morphable-tiny"), {"weight": torch.ones(1)}, {})
    with pytest.raises(ConfigError, match=r"geometry-tiny was begun with another .*morphable\.weights_sha256"):
        train_all.main(config)
