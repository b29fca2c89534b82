"""Card of a data set: one self-contained HTML file with images and plots."""

import base64
import html
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.datasets import schema
from mosar.datasets.crop import resize_area
from mosar.jobs.inspection import charts, contact_sheet, dataset_stats
from mosar.jobs.inspection.dataset_stats import ITA, Fact
from mosar.models.colour import to_srgb
from mosar.platform import storage
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest

FILE = "card.html"

_PHOTOGRAPHS, _PEOPLE, _CELL = 60, 8, 112
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1180px; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em } h2 { font-size: 1.15em; margin-top: 2em } table { border-collapse: collapse }
td, th { padding: .15em .9em .15em 0; text-align: left; vertical-align: top } td.n, th.n { text-align: right }
figure { display: inline-block; margin: 0 1.5em 1em 0; vertical-align: top } figcaption { color: #555 }
img { max-width: 100% } code { background: #f3f3f3; padding: 0 .2em } .note { color: #555 }
"""


def write(found: Manifest, most: int, concurrency: int = 0) -> str:
    """Write ``card.html`` into the data set's folder; return its location. At most ``most`` samples are read."""
    known = dataset_stats.gather(found, most, concurrency)
    where = storage.join(found.location, FILE)
    storage.write_bytes(where, page(found, known).encode())
    return where


def page(found: Manifest, known: Sequence[Fact]) -> str:
    """Return the card as HTML."""
    name = found.location.rstrip("/").rsplit("/", 1)[-1]
    share = "all" if len(known) == found.samples else f"{len(known)} of {found.samples}, evenly spread,"
    parts = [
        f"<h1>Data set {html.escape(name)}</h1>",
        f'<p class="note">Read from {share} samples. Digest <code>{found.digest[:16]}</code>.</p>',
        "<h2>Counts</h2>", _splits(found, known), "<h2>People, poses, light</h2>", _plots(known),
        "<h2>Licences</h2>", _table(("licence", "samples"), Counter(f.licence for f in known).most_common()),
        "<h2>Quality and what was left out</h2>", _flags(known), _left_out(found),
        "<h2>Samples</h2>", _sheets(found), "<h2>Recipe</h2>", _recipe(found.about.get("recipe", {})),
    ]  # fmt: skip
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{html.escape(name)}</title>\n<style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en">{head}\n{body}\n</html>\n'


def _splits(found: Manifest, known: Sequence[Fact]) -> str:
    rows = found.shards()
    table = []
    for split in found.splits:
        own = [row for row in rows if row.split == split]
        people = len({f.subject for f in known if f.split == split})
        size = f"{sum(row.bytes for row in own) / 1e6:.1f}"
        table.append((split, sum(row.samples for row in own), people, len(own), size))
    return _table(("split", "samples", "subjects seen", "shards", "MB"), table)


def _plots(known: Sequence[Fact]) -> str:
    colours = {name: _mean_colour([f.skin for f in known if f.tone == name]) for name, _ in ITA}
    tones = Counter(f.tone for f in known)
    stage = known[0].kind == "lightstage" if known else False
    caption = "skin: reflectance of the cheeks" if stage else "skin as photographed (light included)"
    plots = [
        _bars(f"{caption}, by typology angle", {name: tones[name] for name, _ in ITA}, colours),
        _histogram("age, years", [f.age for f in known], 0, 90, 18),
        _poses("yaw (across) and pitch (up), degrees", [(f.yaw, f.pitch) for f in known]),
        _histogram("yaw, degrees, to the subject's left", [f.yaw for f in known], -90, 90, 18),
        _histogram("distance of the camera, mm", [f.distance_mm for f in known], 0, 3000, 15),
        _histogram("expression: sum of weights", [f.expression for f in known], 0, 9, 18),
        _bars("light", dict(sorted(Counter(f.light for f in known).items()))),
        _bars("made by", dict(sorted(Counter(f.renderer for f in known).items()))),
    ]
    return "\n".join(plots)


def _flags(known: Sequence[Fact]) -> str:
    flags = Counter(flag for f in known for flag in f.flags)
    return _table(("flag", "samples"), flags.most_common()) if flags else "<p>No sample has a quality flag.</p>"


def _left_out(found: Manifest) -> str:
    reasons = contact_sheet.left_out(found.location)
    if not reasons:
        return "<p>Nothing was left out.</p>"
    return _table(("left out, because", "number"), sorted(reasons.items(), key=lambda item: -item[1]))


def _recipe(recipe: Mapping[str, Any]) -> str:
    return _table(("key", "value"), [(key, str(value)) for key, value in recipe.items()])


def _sheets(found: Manifest) -> str:
    pictures: list[NDArray[np.uint8]] = []
    maps: list[NDArray[np.uint8]] = []
    for number, (shard, _, indices) in enumerate(dataset_stats.evenly_over(found, _PHOTOGRAPHS)):
        for members in shards.read_samples(found.shard_location(shard), found.extents(shard, indices)):
            pictures.append(_cell(schema.decode_member(members, "image")))
            if schema.kind_of(members) == "lightstage" and len(maps) < _PEOPLE * 6 and number % 2 == 0:
                maps += [_cell(_shown(members, stem)) for stem in ("image", *schema.MAPS)]
    sheets = [_sheet(contact_sheet.sheet(pictures, 10), "pictures, evenly spread over the data set")]
    if maps:
        sheets.append(
            _sheet(contact_sheet.sheet(maps, 12), "picture, diffuse, specular, occlusion, translucency, normals")
        )
    return "\n".join(sheets)


def _shown(members: Mapping[str, bytes], stem: str) -> NDArray[np.uint8]:
    value = schema.decode_member(members, stem)
    if stem == "normal":
        value = (value * 127.5 + 128).astype(np.uint8)
    return value if value.ndim == 3 else np.repeat(value[..., None], 3, -1)


def _cell(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(resize_area(image, _CELL), np.uint8)


def _sheet(image: NDArray[np.uint8], caption: str) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=88)
    return _figure(buffer.getvalue(), "jpeg", caption)


def _figure(content: bytes, kind: str, caption: str) -> str:
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img src="data:image/{kind};base64,{data}" alt="">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any], tag: str) -> str:
        marks = [' class="n"' if isinstance(cell, int | float) else "" for cell in cells]
        return "".join(f"<{tag}{m}>{html.escape(str(c))}</{tag}>" for m, c in zip(marks, cells, strict=True))

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{line(heads, 'th')}</tr>\n{body}</table>"


def _bars(title: str, counts: Mapping[str, int], colours: Mapping[str, str] | None = None) -> str:
    return _figure(charts.bars(counts, colours), "png", title)


def _histogram(title: str, values: Sequence[float | None], low: float, high: float, bins: int) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    caption = f"{title} (median {np.median(known):.4g}, {len(known)} known)"
    return _figure(charts.histogram(known, low, high, bins), "png", caption)


def _poses(title: str, pairs: Sequence[tuple[float | None, float | None]]) -> str:
    known = [(yaw, pitch) for yaw, pitch in pairs if yaw is not None and pitch is not None]
    return _figure(charts.poses(known), "png", title) if known else ""


def _mean_colour(linear: Sequence[tuple[float, float, float]]) -> str:
    if not linear:
        return "#cccccc"
    encoded = to_srgb(torch.tensor(linear, dtype=torch.float64).mean(dim=0)).clamp(0, 1)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in encoded.tolist())
