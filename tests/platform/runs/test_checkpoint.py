import json
from pathlib import Path

import pytest
import torch

from mosar.errors import ConfigError, DataError, RunError
from mosar.platform.runs import checkpoint, run
from mosar.platform.runs.checkpoint import Checkpoint


def save(place: Path, step: int, keep: int = 3, protect: tuple[int, ...] = ()) -> None:
    tensors = {
        "b": torch.arange(6.0).reshape(2, 3).t() + step,
        "a": torch.tensor(step),
        "c": torch.ones(2, dtype=torch.bfloat16),
    }
    checkpoint.save(str(place), Checkpoint(step, tensors, {"notes": {"x": step}}), keep, protect)


def test_saved_checkpoints_load_and_old_ones_are_removed(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        save(tmp_path, step, keep=2, protect=(10,))
    assert checkpoint.steps(str(tmp_path)) == [10, 30, 40]
    found, problems = checkpoint.newest(str(tmp_path))
    assert found is not None
    assert problems == []
    assert (found.step, found.state) == (40, {"notes": {"x": 40}})
    assert torch.equal(found.tensors["b"], torch.arange(6.0).reshape(2, 3).t() + 40)
    assert found.tensors["c"].dtype == torch.bfloat16
    assert found.tensors["a"].shape == ()


def test_an_incomplete_checkpoint_does_not_count_towards_keep(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step)
    (tmp_path / "checkpoints/000000030/state.json").unlink()
    save(tmp_path, 40, keep=2)
    assert checkpoint.steps(str(tmp_path)) == [20, 40]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no state", "bad state", "empty"])
def test_a_damaged_newest_checkpoint_falls_back_with_a_message(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 10)
    save(tmp_path, 20)
    tensors = tmp_path / "checkpoints/000000020/tensors.safetensors"
    state = tensors.with_name("state.json")
    content = bytearray(tensors.read_bytes())
    if damage == "truncated":
        tensors.write_bytes(content[:-3])
    elif damage == "flipped":
        content[-1] ^= 1
        tensors.write_bytes(content)
    elif damage == "no state":
        state.unlink()
    elif damage == "bad state":
        state.write_text("{")
    else:
        tensors.write_bytes(b"")
    found, problems = checkpoint.newest(str(tmp_path))
    assert found is not None
    assert found.step == 10
    assert len(problems) == 1
    assert "checkpoint of step 20 cannot be used, going back" in problems[0]


@pytest.mark.parametrize(("keep", "bad"), [(1, [40]), (2, [30, 40])])
def test_saving_after_a_fallback_removes_the_damaged_later_checkpoints(
    tmp_path: Path, keep: int, bad: list[int]
) -> None:
    for step in (10, 20, 30, 40):
        save(tmp_path, step, keep=4)
    for step in bad:
        (tmp_path / f"checkpoints/{step:09d}/tensors.safetensors").write_bytes(b"")
    found, _ = checkpoint.newest(str(tmp_path))
    assert found is not None
    save(tmp_path, found.step + 5, keep=keep)
    assert checkpoint.steps(str(tmp_path))[-1] == found.step + 5
    again, problems = checkpoint.newest(str(tmp_path))
    assert again is not None
    assert (again.step, problems) == (found.step + 5, [])


def test_a_run_without_checkpoints_starts_fresh_and_one_without_valid_ones_fails(tmp_path: Path) -> None:
    assert checkpoint.newest(str(tmp_path)) == (None, [])
    save(tmp_path, 10)
    (tmp_path / "checkpoints/000000010/tensors.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="none of its checkpoints can be used"):
        checkpoint.newest(str(tmp_path))
    (tmp_path / "checkpoints/000000010/state.json").unlink()
    assert checkpoint.newest(str(tmp_path))[0] is None


def test_runs_keep_their_fingerprint_metrics_and_weights(tmp_path: Path) -> None:
    place = str(tmp_path / "run")
    fingerprint = {"train": {"lr": 1, "readers": 1}, "data": {"a": {"location": "/x", "digest": "1"}}}
    assert not run.check(place, fingerprint)
    assert not (tmp_path / "run").exists()
    assert not run.begin(place, fingerprint)
    assert run.check(place, fingerprint)
    moved = {"train": {"lr": 1, "readers": 2}, "data": {"a": {"location": "/y", "digest": "1"}}}
    assert run.begin(place, moved, ["train.readers"])
    with pytest.raises(
        ConfigError, match=r"begun with another configuration \(data\.a\.digest: '1' -> '2'; train\.lr: 1 -> 2\)"
    ):
        run.begin(place, {"train": {"lr": 2, "readers": 1}, "data": {"a": {"location": "/x", "digest": "2"}}})
    for step in (10, 20, 30):
        run.log(place, {"step": step, "loss": 1.0})
    run.rewind_metrics(place, 20)
    run.log(place, {"step": 30, "loss": 2.0})
    assert [(line["step"], line["loss"]) for line in run.metrics(place)] == [(10, 1.0), (20, 1.0), (30, 2.0)]
    with pytest.raises(DataError, match="no finished run"):
        run.weights(place)
    assert run.summary(place) is None
    result = run.finish(place, {"w": torch.ones(2)}, {"steps": 3})
    assert run.summary(place) == result
    assert torch.equal(run.weights(place)["w"], torch.ones(2))
    (tmp_path / "run/weights.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="was altered"):
        run.weights(place)


def test_a_run_that_continues_with_other_code_records_it_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin() -> int:
        run.begin(str(tmp_path), {"train": {"lr": 1}})
        return len(json.loads((tmp_path / "record.json").read_text()))

    assert [begin(), begin()] == [1, 1]
    assert capsys.readouterr().err == ""
    edited = tmp_path / "checkout"
    (edited / "platform" / "runs").mkdir(parents=True)
    (edited / "platform" / "runs" / "run.py").write_text("edited = True\n")
    monkeypatch.setattr(run, "_ROOT", edited)
    assert [begin(), begin()] == [2, 2]
    assert capsys.readouterr().err.count("continues with other code or packages") == 1


def test_metrics_end_with_the_last_complete_line(tmp_path: Path) -> None:
    run.log(str(tmp_path), {"step": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    run.rewind_metrics(str(tmp_path), 5)
    run.log(str(tmp_path), {"step": 1, "warning": "checkpoint"})
    assert [line["step"] for line in run.metrics(str(tmp_path))] == [1, 1]
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo{"step": 3}\n{"step": 4}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl: a line is not JSON"):
        run.metrics(str(tmp_path))
