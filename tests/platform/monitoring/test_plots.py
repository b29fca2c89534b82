"""Plots can be drawn from the metrics of any run, including empty and failed ones."""

import io

from PIL import Image

from mosar.platform.monitoring import plots


def test_curves_and_timeline() -> None:
    lines = [{"step": 0, "heldout": {"loss": 2.0}}]
    lines += [{"step": s, "loss": 2.0 / s, "lr": 1e-3} for s in range(1, 40)]
    lines += [{"step": 20, "warning": "x"}, {"step": 40, "heldout": {"loss": 0.2}}]
    assert Image.open(io.BytesIO(plots.curves(lines, "toy"))).size == (800, 450)
    assert Image.open(io.BytesIO(plots.curves([], "empty"))).size == (800, 450)
    spans = {
        "one": [(10.0, "waiting"), (11.0, "training"), (30.0, "done")],
        "two": [(10.0, "waiting"), (30.0, "training"), (45.0, "failed")],
        "three": [(10.0, "waiting"), (45.0, "skipped")],
    }
    assert Image.open(io.BytesIO(plots.timeline(spans, 45.0))).size[0] == 800
