"""The drills: metrics and report of made-up outcomes, and a real drill."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mosar.jobs.fault_injection import outcome
from mosar.jobs.fault_injection.drills import cancelled
from mosar.jobs.fault_injection.outcome import Result

CHECKOUT = Path(__file__).resolve().parents[2]
UNDISTURBED = {"weights_sha256": "aa", "sample_order_hash": "bb", "heldout": {"end": 2.0}}
LINES = [{"rows": [[0, 1, 2, 3, 4, 5, 0, 1]]}, {"rows": [[6, 7, 8, 9, 10, 11, 2, 3]]}]


def result(same_size: bool = True, lines: list[dict[str, Any]] = LINES, **summary: Any) -> Result:
    return Result("fault", "what", {**UNDISTURBED, **summary}, lines, UNDISTURBED, LINES, same_size, 1.0)


def test_runs_that_end_like_the_undisturbed_one_meet_all_requirements() -> None:
    found = outcome.metrics([result(), result(same_size=False)])
    assert (found["faults"], found["weights_identical"], found["order_identical"]) == (2, 1.0, 1.0)
    assert (found["samples_lost"], found["samples_repeated"], found["resize_loss_rel_difference"]) == (0, 0, 0.0)
    assert outcome.short(found) == []


@pytest.mark.parametrize(
    ("changed", "short"),
    [
        (result(weights_sha256="cc"), ["weights_identical: 0.5"]),
        (result(sample_order_hash="cc"), ["order_identical: 0.5"]),
        (result(lines=LINES[:1]), ["samples_lost: 8"]),
        (result(lines=[*LINES, LINES[0]]), ["samples_repeated: 8"]),
        (result(same_size=False, heldout={"end": 2.5}), ["resize_loss_rel_difference: 0.25"]),
        (result(same_size=False, weights_sha256="cc"), ["resize_weights_identical: False"]),
    ],
)
def test_differences_are_reported(changed: Result, short: list[str]) -> None:
    assert outcome.short(outcome.metrics([result(), changed])) == short


def test_unmeasured_metrics_are_absent_and_an_unfinished_run_gives_none() -> None:
    alone = outcome.metrics([result()])
    assert not {"resize_loss_rel_difference", "resize_weights_identical"} & set(alone)
    assert "weights_identical" not in outcome.metrics([result(same_size=False)])
    unfinished = Result(
        "fault", "FAILED", {"weights_sha256": "", "sample_order_hash": ""}, [], UNDISTURBED, LINES, False, 1.0
    )
    found = outcome.metrics([unfinished])
    assert found["resize_loss_rel_difference"] is None
    assert {line.partition(":")[0] for line in outcome.short(found)} == {
        "order_identical", "samples_lost", "resize_weights_identical", "resize_loss_rel_difference",
    }  # fmt: skip


def test_the_report_has_a_row_for_each_fault(tmp_path: Path) -> None:
    outcome.report(tmp_path, [result(), result(lines=LINES[:1])])
    table = (tmp_path / "faults.md").read_text()
    assert table.count("| what | identical | identical | 0 | 0 | 1 |") == 1
    assert table.count("| what | identical | identical | 8 | 0 | 1 |") == 1


def test_two_calls_at_once_lost_answers_and_work_that_goes_on_are_reported() -> None:
    works = [cancelled.Work(began, ended, 1) for began, ended in ((0.0, 1.0), (1.0, 3.0), (3.5, 4.0))]
    assert cancelled.at_once(works) == 1
    assert cancelled.at_once([*works, cancelled.Work(2.0, 2.5, 1)]) == 2
    good = {"ordinary": 20, "answered": 20, "as_alone": 20, "as_command_line": 20, "refused": {}, "at_once": 1}
    good |= {"works_for_none": 3, "idle_s": 0.5}
    assert cancelled.short(good) == []
    bad = {"answered": 19, "as_alone": 18, "refused": {"503": 2}, "works_for_none": 0, "at_once": 2, "idle_s": 9.0}
    assert [line.partition(":")[0] for line in cancelled.short({**good, **bad})] == list(bad)


def drill(*words: str) -> tuple[int, dict[str, Any]]:
    """Run ``jobs/drill.py``; return its exit code and metrics."""
    command = [sys.executable, "jobs/drill.py", *words]
    done = subprocess.run(command, check=False, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, timeout=900)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])["metrics"]


def test_a_submitted_job_makes_the_cluster_grow_and_idling_shrinks_it(tmp_path: Path) -> None:
    code, found = drill("what=autoscale", f"out={tmp_path}")
    assert code == 0
    assert found["scaled_up"] is found["scaled_down"] is found["job_ok"] is True
    assert found["processes_left"] == 0
