import errno
import io
import threading
import time
from pathlib import Path

import pytest

from mosar.platform.monitoring.progress import Progress, Row, following
from mosar.platform.runs import run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def line(step: int, **more: object) -> dict[str, object]:
    return {"step": step, "loss": 0.5, "steps_per_s": 2.0, **more}


def test_rows_follow_the_metrics_through_a_rewind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = Row(str(tmp_path), 100, "training")
    out = io.StringIO()
    with following({"toy": row}, out) as progress:
        run.log(str(tmp_path), {"step": 0, "heldout": {"loss": 4.0}})
        run.log(str(tmp_path), line(40))
        progress.show()
        assert (row.step, row.start) == (40, 4.0)
        assert "toy: starting at step 0 of 100" in out.getvalue() or "step 40 of 100" in out.getvalue()
        assert "step 40 of 100, 2.00 steps/s, 0:00:30 left, loss 0.5, held-out 4 (1.000 of the start)" in out.getvalue()
        run.log(str(tmp_path), {"step": 20, "warning": "checkpoint 40 is bad"})
        run.rewind_metrics(str(tmp_path), 20)
        for step in (30, 40, 50):
            run.log(str(tmp_path), line(step))
        run.log(str(tmp_path), {"step": 50, "heldout": {"loss": 1.0}})
        progress.show()
        progress.show()
        row.state = "done"
    assert (row.step, row.held_out) == (50, 1.0)
    assert capsys.readouterr().err.count("checkpoint 40 is bad") == 1
    assert out.getvalue().splitlines()[-1] == "toy: done, step 50 of 100, loss 0.5, held-out 1 (0.250 of the start)"
    assert "nan" not in out.getvalue()


def test_a_server_that_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mosar.platform.monitoring.progress._LAST_S", 0.2)
    answers, called = threading.Event(), threading.Event()

    def slow() -> None:
        called.set()
        answers.wait(60.0)

    row, out = Row(str(tmp_path), 100, "training"), Terminal()
    with following({"toy": row}, out, apart=[slow]):
        assert called.wait(10.0)
        run.log(str(tmp_path), line(40))
        while "40/100" not in out.getvalue():
            time.sleep(0.05)
    answers.set()
    assert "does not answer; not waiting for it" in capsys.readouterr().err


def test_a_terminal_table_is_redrawn_in_place(tmp_path: Path) -> None:
    out = Terminal()
    progress = Progress({"a": Row(str(tmp_path), 10), "b": Row(str(tmp_path), 10)}, out)
    progress.show()
    first = out.getvalue()
    assert all(word in first for word in ("held-out", "0/10", "–"))
    assert "nan" not in first
    progress.show()
    progress.close()
    assert out.getvalue()[len(first) :].startswith("\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K")  # up over three lines


def test_a_failing_follower_does_not_affect_the_block_and_causes_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called = []

    def full() -> None:
        called.append("full")
        raise OSError(errno.ENOSPC, "No space left on device")

    row = Row(str(tmp_path), 100, "training")
    with pytest.raises(LookupError, match="of the block"), following({"toy": row}, io.StringIO(), also=[full]):
        raise LookupError("of the block")
    assert capsys.readouterr().err.count("No space left") == 1
    with following({"toy": row}, Terminal(), also=[full, lambda: called.append("next")]):
        (tmp_path / "metrics.jsonl").write_text("{\n")
        while called.count("full") < 4:
            time.sleep(0.05)
    assert called[-2:] == ["full", "next"]
    said = capsys.readouterr().err
    assert (said.count("No space left"), said.count("metrics.jsonl")) == (1, 1)
