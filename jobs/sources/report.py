"""A data set at a glance: a contact sheet and counts, beside its shards."""

import io
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import schema
from mosar.platform import shards, storage
from mosar.platform.manifest import Manifest

COLUMNS, ROWS, CELL = 10, 4, 128


def write(found: Manifest) -> list[str]:
    """Write ``sheet.png`` and ``counts.json`` into the data set's folder; returns lines for people."""
    counts: Counter[str] = Counter()
    for split in found.splits:
        counts[f"{split} samples"] = found.split(split).samples
    cells = contact_cells(found)
    counts["shards"] = len(found.shards())
    storage.write_bytes(storage.join(found.location, "sheet.png"), _png(sheet(cells)))
    left_out = _left_out(found.location)
    storage.write_json(storage.join(found.location, "counts.json"), {"counts": counts, "left_out": left_out})
    lines = [f"left out, {reason}: {number}" for reason, number in sorted(left_out.items())]
    return [*lines, f"contact sheet: {storage.join(found.location, 'sheet.png')}"]


def contact_cells(found: Manifest) -> list[NDArray[np.uint8]]:
    """Pictures of samples spread evenly over the data set, each beside its albedo where that is known."""
    from mosar.datasets.crop import resize_area

    cells = []
    for shard, indices in _spread(found, COLUMNS * ROWS // 2):
        for members in shards.read(found.shard_location(shard), found.extents(shard, indices)):
            stems = ("image", "diffuse") if schema.kind_of(members) == "stage" else ("image",)
            cells += [np.asarray(resize_area(schema.decode_member(members, s), CELL), np.uint8) for s in stems]
    return cells


def sheet(cells: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Cells (CELL, CELL, 3) in rows."""
    rows = -(-len(cells) // COLUMNS)
    page = np.full((rows * CELL, COLUMNS * CELL, 3), 255, np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, COLUMNS)
        page[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = cell
    return page


def _spread(found: Manifest, count: int) -> list[tuple[int, list[int]]]:
    """Shard numbers and sample numbers in them, evenly over the data set."""
    sizes = np.array([row.samples for row in found.shards()])
    picked = np.unique(np.linspace(0, sizes.sum() - 1, min(count, int(sizes.sum()))).astype(int))
    ends = np.cumsum(sizes)
    shard_n = np.searchsorted(ends, picked, side="right")
    return [(int(s), [int(p - (ends[s] - sizes[s])) for p in picked[shard_n == s]]) for s in np.unique(shard_n)]


def _left_out(location: str) -> dict[str, int]:
    """Reasons and counts that the makers of the shards noted."""
    folder = storage.join(location, "left_out")
    total: Counter[str] = Counter()
    for name in storage.names(folder):
        total.update(Counter(storage.read_json(storage.join(folder, name)).values()))
    return dict(total)


def _png(image: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
