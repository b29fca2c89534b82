"""Charts of a data set as PNG bytes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mosar.platform.monitoring.plots import figure_png

_BLUE = "#6b8fb3"
_SIZE = (4.2, 1.9)
"""Inches, at 100 dots an inch."""


def bars(counts: Mapping[str, int], colours: Mapping[str, str] | None = None) -> bytes:
    """Horizontal bars with names and counts."""
    figure, axes = _figure(_SIZE[0], 0.5 + 0.2 * len(counts))
    shown = axes.barh(list(counts), list(counts.values()), color=[(colours or {}).get(n, _BLUE) for n in counts])
    axes.bar_label(shown, padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.margins(x=0.12)
    axes.spines[:].set_visible(False)
    return figure_png(figure)


def histogram(values: Sequence[float], low: float, high: float, bins: int) -> bytes:
    """Histogram of values; those beyond ``low`` and ``high`` count in the outermost bins."""
    figure, axes = _figure(*_SIZE)
    axes.hist(np.clip(values, low, high), bins, range=(low, high), color=_BLUE, rwidth=0.94)
    axes.set_xticks(np.linspace(low, high, 4))
    return figure_png(figure)


def poses(degrees: Sequence[tuple[float, float]]) -> bytes:
    """Scatter of yaw (horizontal) and pitch (vertical)."""
    figure, axes = _figure(*_SIZE)
    axes.axhline(0, color="#ccc", lw=0.8)
    axes.axvline(0, color="#ccc", lw=0.8)
    yaw, pitch = np.array(degrees).T
    axes.scatter(yaw, pitch, s=6, color=_BLUE, alpha=0.5, linewidths=0)
    axes.set(xlim=(-90, 90), ylim=(-45, 45), xticks=(-90, -45, 0, 45, 90), yticks=(-45, 0, 45))
    return figure_png(figure)


def scatter(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], across: str, up: str) -> bytes:
    """Points of one or more named series (x, y), with the names of both axes."""
    figure, axes = _figure(_SIZE[0], 1.4 * _SIZE[1])
    for name, (x, y) in series.items():
        axes.scatter(x, y, s=9, alpha=0.7, linewidths=0, label=name)
    axes.set_xlabel(across, fontsize=8)
    axes.set_ylabel(up, fontsize=8)
    if len(series) > 1:
        axes.legend(fontsize=7, frameon=False)
    return figure_png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure without pyplot, which keeps its figures in global state."""
    figure = Figure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.tick_params(labelsize=8)
    return figure, axes
