"""Stages can be trained on the shipped morphable model, and a bundle holds it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mosar.bundle import open_bundle
from mosar.errors import ConfigError
from mosar.jobs import hydra_main, shipped, stages, train_stage
from mosar.jobs.assemble import Assemble, main
from mosar.models.head import load_head
from mosar.models.morphable import pretrained
from mosar.models.reconstruct import steps
from mosar.platform.runs import run


def finish_untrained(root: Path, parents: dict[str, str]) -> None:
    """Finished runs of all stages but the morphable model, with the weights that they start from."""
    for name in steps.stages():
        if name == shipped.STAGE:
            continue
        model = hydra_main.compose("train_stage", [f"stage={name}", "preset=tiny"])["model"]
        stage = stages.make(name, model, None)
        mine = {parent: parents.get(parent, str(root / "runs" / f"{parent}-tiny")) for parent in stage.requires}
        _, module = stages.build(name, model, None, mine)
        fingerprint: dict[str, Any] = {
            "stage": name,
            "model": stages.model_config(name, model),
            "head": {"path": None, "digest": load_head().digest},
            "parents": {parent: train_stage.finished_parent(parent, where) for parent, where in mine.items()},
            "data": {stream: {"location": "gone", "digest": "0" * 64} for stream in ("lightstage", "wild")},
        }
        where = str(root / "runs" / f"{name}-tiny")
        run.begin(where, fingerprint)
        held_out = {"start": 2.0, "end": 1.0, "baseline": 1.5}
        run.finish(where, module.state_dict(), {"steps": 0, "heldout": held_out})


def test_a_bundle_on_the_shipped_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish_untrained(tmp_path, {shipped.STAGE: shipped.SHIPPED})
    main(Assemble("tiny", "mine", str(tmp_path), {shipped.STAGE: shipped.SHIPPED}))
    assert "bundle" in capsys.readouterr().out
    found = open_bundle(str(tmp_path / "bundles" / "mine"))
    ours, theirs = found.modules[shipped.STAGE].state_dict(), pretrained.load(load_head()).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert "shipped with the program" in (tmp_path / "bundles" / "mine" / "MODEL_CARD.md").read_text()


def test_only_the_morphable_model_is_shipped_for_others_to_build_on() -> None:
    config = train_stage.TrainStage("x", "tiny", train={}, run="x", parents={"geometry": shipped.SHIPPED})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="only morphable is shipped"):
        train_stage.parent_location(config, "geometry")
    config = train_stage.TrainStage("x", "tiny", train={}, run="x", parents={"morphable": shipped.SHIPPED})  # type: ignore[arg-type]
    about = train_stage.finished_parent("morphable", train_stage.parent_location(config, "morphable"))
    assert len(about["weights_sha256"]) == 64
