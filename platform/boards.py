"""A run's metrics for TensorBoard: an event file in the run's folder, made from its ``metrics.jsonl``."""

import tempfile
from pathlib import Path

from mosar.platform import run, storage

FOLDER = "tensorboard"


def write(location: str) -> str:
    """Make the event file anew, with the held-out values under ``heldout/``; its location."""
    from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            for line in run.metrics(location):
                for name, value in {**line, **line.get("losses", {})}.items():
                    if isinstance(value, int | float) and name != "step":
                        writer.add_scalar(f"train/{name}", value, line["step"])
                for name, value in line.get("heldout", {}).items():
                    writer.add_scalar(f"heldout/{name}", value, line["step"])
        [events] = Path(folder).iterdir()
        where = storage.join(location, FOLDER, "events.out.tfevents.mosar")
        storage.write_bytes(where, events.read_bytes())
    return where
