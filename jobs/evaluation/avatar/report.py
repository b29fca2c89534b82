"""The report: one HTML file with the table of all rows, plots by yaw and tone, and a sheet of every photograph."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosar.jobs.evaluation.avatar.config import PORTRAITS, Config
from mosar.jobs.evaluation.avatar.record import Record
from mosar.jobs.evaluation.avatar.rows import OURS
from mosar.jobs.inspection import charts
from mosar.platform import storage

PAGE, METRICS = "report.html", "metrics.json"

_WORST = 10
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; max-width: 1400px; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em } table { border-collapse: collapse }
td, th { padding: .1em .8em .1em 0; text-align: right } td:first-child, th:first-child { text-align: left }
tr:hover { background: #f6f6f6 } .note, small { color: #666 } figure { margin: 0 0 .8em } img { max-width: 100% }
figure.plot { display: inline-block; margin-right: 1em }
"""
_PLOTS = {
    True: (("render_psnr_db", "PSNR, dB"), ("landmark_nme", "points, share of the eyes' distance")),
    False: (("neutral_vertex_mm", "neutral mesh, mm"), ("all_mm", "REALY's regions, mm"),
            ("diffuse_delta_e", "albedo, CIEDE2000"), ("relit_psnr_db", "relit, dB")),
}  # fmt: skip
"""Measures that are plotted, for portraits and for sets with truth."""

Summaries = Mapping[str, Mapping[str, Any]]
Records = Mapping[str, Sequence[Record]]


def write(where: str, config: Config, summaries: Summaries, records: Records) -> None:
    """Write the report into a folder of the storage root."""
    storage.write_bytes(storage.join(where, PAGE), page(config, summaries, records).encode())


def page(config: Config, summaries: Summaries, records: Records) -> str:
    """The report as HTML."""
    title = f"Avatars of {', '.join(summaries)} on {config.set}"
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for name, summary in summaries.items():
        failures = ", ".join(f"{r.key}: {r.failure}" for r in records[name] if r.failure)
        seconds = summary["seconds_median"]
        note = f"{name}: {summary['count']} photographs, {summary['failed']} failed"
        note += f", {seconds:.1f} s each" if seconds is not None else ""
        parts.append(f'<p class="note">{html.escape(note)}. {html.escape(failures)}</p>')
    parts += ["<h2>Figures</h2>", _table(summaries), "<h2>By yaw and tone</h2>", *_plots(config, records)]
    order = _worst_first(config, next(iter(records.values())))
    parts += [f"<h2>The worst {_WORST}</h2>", *(_sheet(n, records) for n in order[:_WORST])]
    parts += ["<h2>All</h2>", *(_sheet(n, records) for n in range(len(order)))]
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title>\n<style>{_STYLE}</style>'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en">{head}\n{body}\n</html>\n'


def text_table(summaries: Summaries) -> str:
    """The table of all rows for a terminal."""
    from rich.console import Console
    from rich.table import Table

    columns = _columns(summaries)
    table = Table("metric", *(name for name, _ in columns), box=None)
    for metric in _metrics(summaries):
        table.add_row(metric, *(_number(rows[row].get(metric)) for _, (rows, row) in columns))
    buffer = io.StringIO()
    Console(file=buffer, width=160, highlight=False, markup=False).print(table)
    return buffer.getvalue().rstrip()


def _columns(summaries: Summaries) -> list[tuple[str, tuple[Mapping[str, Mapping[str, float]], str]]]:
    """Columns by caption: ours of each bundle, then the rows that must lose, as they stand beside the first bundle."""
    found = []
    for number, (name, summary) in enumerate(summaries.items()):
        rows = summary["rows"]
        found += [(name if row == OURS else row, (rows, row)) for row in rows if row == OURS or number == 0]
    return sorted(found, key=lambda column: column[1][1] != OURS)


def _metrics(summaries: Summaries) -> list[str]:
    return list(dict.fromkeys(m for s in summaries.values() for row in s["rows"].values() for m in row))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _table(summaries: Summaries) -> str:
    columns = _columns(summaries)
    heads = "".join(f"<th>{html.escape(name)}</th>" for name, _ in columns)
    lines = [f"<tr><th></th>{heads}</tr>"]
    spread = [next(s["intervals"] for s in summaries.values() if s["rows"] is rows) for _, (rows, _) in columns]
    for metric in _metrics(summaries):
        cells = []
        for (_, (rows, row)), intervals in zip(columns, spread, strict=True):
            around = intervals[row].get(metric)
            small = f" <small>{around[0]:.3g}&ndash;{around[1]:.3g}</small>" if around and row == OURS else ""
            cells.append(f"<td>{_number(rows[row].get(metric))}{small}</td>")
        lines.append(f"<tr><td>{metric}</td>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>\n<p class='note'>Small: 95 % intervals over people (bootstrap).</p>"


def _plots(config: Config, records: Records) -> list[str]:
    found = []
    for measure, up in _PLOTS[config.set == PORTRAITS]:
        for fact, across in (("yaw", "yaw, degrees, to the subject's left"), ("tone", "lightness of the skin, L*")):
            series = {name: _pairs(own, fact, measure) for name, own in records.items()}
            if any(x for x, _ in series.values()):
                found.append(_image(charts.scatter(series, across, up), "png", "", "plot"))
    return found


def _pairs(records: Sequence[Record], fact: str, measure: str) -> tuple[list[float], list[float]]:
    pairs = [(r.facts.get(fact, np.nan), r.values.get(OURS, {}).get(measure, np.nan)) for r in records]
    known = [pair for pair in pairs if np.isfinite(pair).all()]
    return [x for x, _ in known], [y for _, y in known]


def _worst_first(config: Config, records: Sequence[Record]) -> list[int]:
    """Numbers of the photographs: failures, then by the re-render's PSNR, or by the shape's error."""
    measure, sign = ("render_psnr_db", 1.0) if config.set == PORTRAITS else ("all_mm", -1.0)

    def badness(number: int) -> float:
        value = records[number].values.get(OURS, {}).get(measure, np.nan)
        return sign * value if np.isfinite(value) else -np.inf

    return sorted(range(len(records)), key=badness)


def _sheet(number: int, records: Records) -> str:
    """The tiles of one photograph, a line a bundle."""
    found = []
    for name, own in records.items():
        record = own[number]
        measures = record.values.get(OURS, {})
        shown = [
            f"{k} {_number(measures[k])}"
            for k in ("all_mm", "diffuse_delta_e", "relit_psnr_db", "render_psnr_db")
            if k in measures
        ]
        caption = ", ".join([record.key, *([name] if len(records) > 1 else []), record.failure or ", ".join(shown)])
        caption += ": " + ", ".join(record.tiles) if record.tiles else ""
        if record.tiles:
            found.append(_image(_jpeg(np.concatenate(list(record.tiles.values()), axis=1)), "jpeg", caption))
        else:
            found.append(f'<p class="note">{html.escape(caption)}</p>')
    return "\n".join(found)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _image(content: bytes, kind: str, caption: str, style: str = "") -> str:
    data = base64.b64encode(content).decode()
    shown = f"<figcaption><small>{html.escape(caption)}</small></figcaption>" if caption else ""
    return f'<figure class="{style}"><img src="data:image/{kind};base64,{data}" alt="">{shown}</figure>'
