"""Overview of a data set: a contact sheet and counts, written beside its shards."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mosar.datasets import schema
from mosar.datasets.png import png
from mosar.jobs.inspection.dataset_stats import evenly_over
from mosar.platform import storage
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest

COLUMNS, ROWS, CELL = 10, 4, 128


def write(found: Manifest) -> list[str]:
    """Write ``sheet.png`` and ``counts.json`` into the data set's folder; return lines to print."""
    counts: Counter[str] = Counter()
    for split in found.splits:
        counts[f"{split} samples"] = found.split(split).samples
    cells = contact_cells(found)
    counts["shards"] = len(found.shards())
    storage.write_bytes(storage.join(found.location, "sheet.png"), png(sheet(cells)))
    reasons = left_out(found.location)
    storage.write_json(storage.join(found.location, "counts.json"), {"counts": counts, "left_out": reasons})
    lines = [f"left out, {reason}: {number}" for reason, number in sorted(reasons.items())]
    return [*lines, f"contact sheet: {storage.join(found.location, 'sheet.png')}"]


def contact_cells(found: Manifest) -> list[NDArray[np.uint8]]:
    """Images of samples spread evenly over the data set, each followed by its albedo if that is known."""
    from mosar.datasets.crop import resize_area

    cells = []
    for shard, _, indices in evenly_over(found, COLUMNS * ROWS // 2):
        for members in shards.read_samples(found.shard_location(shard), found.extents(shard, indices)):
            stems = ("image", "diffuse") if schema.kind_of(members) == "lightstage" else ("image",)
            cells += [np.asarray(resize_area(schema.decode_member(members, s), CELL), np.uint8) for s in stems]
    return cells


def sheet(cells: Sequence[NDArray[np.uint8]], columns: int = COLUMNS) -> NDArray[np.uint8]:
    """Arrange cells (n n 3) of one size in rows on white."""
    side = len(cells[0])
    page = np.full((-(-len(cells) // columns) * side, columns * side, 3), 255, np.uint8)
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        page[row * side : (row + 1) * side, column * side : (column + 1) * side] = cell
    return page


def left_out(location: str) -> dict[str, int]:
    """Reasons for left-out photographs, captures and cameras, with counts, as noted when the shards were made."""
    folder = storage.join(location, "left_out")
    total: Counter[str] = Counter()
    for name in storage.names(folder):
        total.update(Counter(storage.read_json(storage.join(folder, name)).values()))
    return dict(total)
