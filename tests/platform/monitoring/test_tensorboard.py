"""TensorBoard's event file and MLflow hold the values of a run's metrics, also after the run went back."""

import struct
from pathlib import Path

import pytest
import torch

from mosar.errors import ConfigError
from mosar.platform.monitoring import mlflow_tracker, tensorboard
from mosar.platform.monitoring.mlflow_tracker import Tracker
from mosar.platform.monitoring.tensorboard import FOLDER, Curves, EventFile
from mosar.platform.runs import checkpoint, run
from mosar.platform.runs.checkpoint import Checkpoint


def line(step: int, loss: float) -> dict[str, object]:
    return {
        "step": step,
        "time": 1e9 + step,
        "loss": loss,
        "losses": {"fit": loss / 2},
        "sample_order_hash": "abc",
        "rows": [1],
    }


def lines(place: str, *steps: int, loss: float = 1.0) -> None:
    for step in steps:
        run.log(place, line(step, loss))


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(name, step, value) of the only event file; verifies the checksums of each record."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    (file,) = folder.iterdir()
    content, found = file.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        record = content[12 : 12 + length]
        assert struct.unpack("<I", content[8:12]) == (masked_crc32c(content[:8]),)
        assert struct.unpack("<I", content[12 + length : 16 + length]) == (masked_crc32c(record),)
        event = Event.FromString(record)
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        assert not event.summary.value or event.wall_time == 1e9 + event.step
        content = content[16 + length :]
    return found


def test_the_event_file_grows_with_the_run_and_goes_back_with_it(tmp_path: Path) -> None:
    place, folder = str(tmp_path), tmp_path / FOLDER
    board = EventFile(place)
    board.update()
    assert not folder.exists()
    run.log(place, {"step": 0, "time": 1e9, "heldout": {"loss": 4.0}})
    lines(place, 10, 20)
    board.update()
    (first,) = folder.iterdir()
    size = first.stat().st_size
    lines(place, 30)
    board.update()
    assert (list(folder.iterdir()), first.stat().st_size > size) == ([first], True)
    run.rewind_metrics(place, 20)
    lines(place, 30, 40, loss=2.0)
    wanted = [("heldout/loss", 0, 4.0)]
    for step, loss in ((10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0)):
        wanted += [("train/loss", step, loss), ("train/fit", step, loss / 2)]
    board.update()
    assert scalars(folder) == wanted
    (second,) = folder.iterdir()
    assert second.name > first.name
    again = EventFile(place)
    again.update()
    assert scalars(folder) == wanted


def test_curves_are_drawn_with_a_checkpoint_once_a_minute_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, picture, clock = str(tmp_path), tmp_path / "curves.png", [1000.0]
    monkeypatch.setattr(tensorboard.time, "monotonic", lambda: clock[0])
    curves, seen = Curves(place), []

    def drawn() -> bool:
        curves.update()
        seen.append(picture.stat().st_ino if picture.exists() else 0)
        return seen[-1] != ([0, *seen])[-2]

    run.log(place, {"step": 1, "loss": 1.0, "lr": 0.1})
    assert not drawn()
    for step, seconds, expected in ((2, 0, True), (3, 30, False), (3, 40, True), (3, 100, False), (4, 1, True)):
        checkpoint.save(place, Checkpoint(step, {"w": torch.zeros(1)}, {}), keep=1)
        clock[0] += seconds
        assert drawn() is expected, (step, seconds)
    run.finish(place, {"w": torch.zeros(1)}, {})
    assert drawn()
    assert not drawn()
    again = Curves(place)
    again.update()
    assert picture.stat().st_ino == seen[-1]


def test_mlflow_receives_each_checkpointed_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed; pip install mlflow-skinny")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv(mlflow_tracker.URI, (tmp_path / "server").as_uri())
    assert mlflow_tracker.wanted()
    from mlflow.tracking import MlflowClient

    place = str(tmp_path / "toy")

    def save(step: int) -> None:
        checkpoint.save(place, checkpoint.Checkpoint(step, {"w": torch.ones(1)}, {}), keep=2)

    def told() -> list[tuple[int, float]]:
        (found,) = client.search_runs([client.get_experiment_by_name("mosar").experiment_id])
        return [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "train/loss")]

    run.begin(place, {"train": {"lr": 0.1}, "stage": "toy"})
    tracker = Tracker(place)
    lines(place, 10, 20)
    save(10)
    tracker.update()
    client = MlflowClient()
    assert told() == [(10, 1.0)]
    run.rewind_metrics(place, 10)
    lines(place, 20, 30, loss=2.0)
    save(20)
    Tracker(place).update()
    tracker.update()
    assert told() == [(10, 1.0), (20, 2.0)]
    save(30)
    run.finish(place, {"w": torch.ones(1)}, {})
    tracker.update()
    assert told() == [(10, 1.0), (20, 2.0), (30, 2.0)]
    (found,) = client.search_runs([client.get_experiment_by_name("mosar").experiment_id])
    assert (found.info.status, found.data.params) == ("FINISHED", {"train.lr": "0.1", "stage": "toy"})


def test_a_server_that_does_not_answer_causes_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(str(tmp_path))
    monkeypatch.setattr(tracker, "_update", (tmp_path / "nothing").stat)
    tracker.update()
    tracker.update()
    assert capsys.readouterr().err.count("cannot send metrics to MLflow") == 1


def test_warnings_hide_the_password_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_: object) -> None:
        raise OSError("https://me:hunter2@mlflow.example/api: no answer")

    monkeypatch.setattr(mlflow_tracker.Tracker, "_update", refused)
    mlflow_tracker.Tracker(str(tmp_path)).update()
    said = capsys.readouterr().err
    assert "hunter2" not in said
    assert "https://mlflow.example" in said


def test_without_mlflow_a_named_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(mlflow_tracker.URI, raising=False)
    assert not mlflow_tracker.wanted()
    monkeypatch.setenv(mlflow_tracker.URI, "http://127.0.0.1:5000")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="pip install mlflow-skinny"):
        mlflow_tracker.wanted()
