"""The model of the detector's errors, learnt from a data set of the pipeline as a user would."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mosar.jobs import registry
from mosar.models.head import load_head
from mosar.models.morphable import detector_error
from mosar.models.morphable.detected_fit import embedded

WHERE = ("evaluate", "mosar.jobs.evaluation", "what", "evaluate")


def test_errors_are_learnt_from_captures(pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "error.safetensors"
    arguments = ["what=detector", "set=virtual-tiny", f"storage={pipeline.storage}", f"out={out}", "components=5"]
    assert registry.run(*WHERE, arguments) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"]
    assert metrics["captures"] + metrics["left_out"] <= 36
    assert 0.5 < metrics["rms_mm"] < 5.0
    head = load_head()
    found = detector_error.shipped(head, out)
    assert found is not None
    error = detector_error.DetectorError(len(embedded(head)), 5)
    error.load_state_dict(found)
    assert float(error.mean(torch.zeros(1), torch.zeros(1)).abs().mean()) > 0.2
    assert Path(metrics["picture"]).stat().st_size > 10_000
    assert registry.run(*WHERE, ["what=detector", "set=wild-tiny", f"storage={pipeline.storage}"]) == 2
    assert "no truth" in capsys.readouterr().err
