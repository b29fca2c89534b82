"""Pictures of runs can be drawn from what runs write, whatever came of them."""

import io
from pathlib import Path

from PIL import Image

from mosar.platform import boards, pictures, run


def test_curves_and_time_line() -> None:
    lines = [{"step": 0, "heldout": {"loss": 2.0}}]
    lines += [{"step": s, "loss": 2.0 / s, "lr": 1e-3} for s in range(1, 40)]
    lines += [{"step": 20, "warning": "x"}, {"step": 40, "heldout": {"loss": 0.2}}]
    assert Image.open(io.BytesIO(pictures.curves(lines, "toy"))).size == (800, 450)
    assert Image.open(io.BytesIO(pictures.curves([], "empty"))).size == (800, 450)
    spans = {
        "one": [(10.0, "waiting"), (11.0, "training"), (30.0, "done")],
        "two": [(10.0, "waiting"), (30.0, "training"), (45.0, "failed")],
        "three": [(10.0, "waiting"), (45.0, "skipped")],
    }
    assert Image.open(io.BytesIO(pictures.timeline(spans, 45.0))).size[0] == 800


def test_tensorboard_gets_all_numbers(tmp_path: Path) -> None:
    run.log(str(tmp_path), {"step": 0, "heldout": {"loss": 2.0}})
    run.log(str(tmp_path), {"step": 10, "loss": 1.5, "losses": {"fit": 1.0}, "order": "abc", "workers": 2})
    content = Path(boards.write(str(tmp_path))).read_bytes()
    assert boards.write(str(tmp_path)).endswith("tensorboard/events.out.tfevents.mosar")
    for name in (b"heldout/loss", b"train/loss", b"train/fit", b"train/workers"):
        assert name in content
    assert b"order" not in content
