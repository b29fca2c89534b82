"""PNG pictures of runs: previews and curves of one run, a timeline of several."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_OVER = {"done": "#6acc64", "failed": "#d65f5f", "skipped": "#956cb4", "stopped": "#d5bb67"}
_COLOURS = {"waiting": "#cccccc", "training": "#4878d0", **_OVER}


def png(picture_3hw: "Tensor") -> bytes:
    """Encode a picture as PNG. Its values are display-encoded and in [0, 1]."""
    from PIL import Image

    pixels = (picture_3hw.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def curves(lines: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Plot training loss, held-out loss and learning rate over the steps of a run's metrics."""
    trained = [line for line in lines if "loss" in line]
    held_out = [line for line in lines if "heldout" in line]
    figure = new_figure(8, 4.5)
    losses, rate = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    losses.plot([line["step"] for line in trained], [line["loss"] for line in trained], lw=0.8, label="training")
    losses.plot(
        [line["step"] for line in held_out], [line["heldout"]["loss"] for line in held_out], "o-", label="held-out"
    )
    values = [line["loss"] for line in trained] + [line["heldout"]["loss"] for line in held_out]
    if values and min(values) > 0:
        losses.set_yscale("log")
    losses.set(ylabel="loss", title=title)
    losses.legend()
    rate.plot([line["step"] for line in trained], [line["lr"] for line in trained], lw=0.8)
    rate.set(ylabel="learning rate", xlabel="step")
    return figure_png(figure)


def timeline(spans: Mapping[str, Sequence[tuple[float, str]]], end: float) -> bytes:
    """Plot the (time, state) changes of each named run. Times are in seconds; the first change is the origin."""
    origin = min(time for changes in spans.values() for time, _ in changes)
    figure = new_figure(8, 1.2 + 0.4 * len(spans))
    axes = figure.subplots()
    for row, changes in enumerate(spans.values()):
        ends = [*(time for time, _ in changes[1:]), end]
        for (begun, state), until in zip(changes, ends, strict=True):
            over = state in _OVER
            width = 0 if over else until - begun
            axes.barh(row, width, left=begun - origin, color=_COLOURS[state], height=0.6)
            if over:
                axes.plot(begun - origin, row, "o", color=_COLOURS[state])
                axes.annotate(f" {state}", (begun - origin, row), va="center", fontsize=8)
    axes.set_yticks(range(len(spans)), list(spans))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.12 * max(end - origin, 1e-3))
    axes.set_xlabel("seconds (grey: waiting, blue: training)")
    return figure_png(figure)


def new_figure(width: float, height: float) -> Any:
    """Make a figure without pyplot, which keeps its figures in global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def figure_png(figure: Any) -> bytes:
    """A matplotlib figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
