"""Monitoring files in a run's own folder: an event file for TensorBoard, and a picture of the curves.

The event file holds the numbers of ``metrics.jsonl`` and nothing else. When a run goes back to a checkpoint, a new
event file replaces the old one. Its start event also makes an open TensorBoard discard what it has read.
"""

import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any

from mosar.platform import storage
from mosar.platform.monitoring import plots
from mosar.platform.runs import checkpoint, run

FOLDER = "tensorboard"
_CURVES = "curves.png"
_NO_CURVE = {"step", "time"}
_DRAW_S = 60.0


class EventFile:
    """The event file of the run at ``location``; :meth:`update` adds the new lines of the metrics.

    tensorboardX only provides the messages and their checksum. Its ``SummaryWriter`` does not fit, because

    - it opens local files, or S3 and GCS by clients of its own, but a run may lie on any fsspec storage;
    - each writer begins a new file, but every command that follows a run must append to the run's only one;
    - its ``purge_step`` leaves the steps after a checkpoint in the old file and asks the reader to ignore them. Here
      the file is written anew after a resume, so that it holds the same steps as ``metrics.jsonl`` for any reader.
    """

    def __init__(self, location: str) -> None:
        self._folder = storage.join(location, FOLDER)
        self._tail = run.Tail(location)
        self._file = ""

    def update(self) -> None:
        lines, anew = self._tail.read()
        if anew:
            self._file = ""
        if lines and not self._file:
            self._begin(lines)
        elif lines:
            storage.append_bytes(self._file, _events(lines))

    def _begin(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write a file numbered after the existing ones, then remove those."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]

        before = storage.names(self._folder)
        number = max((int(name.split(".")[3]) for name in before), default=0) + 1
        begin = _record(Event(file_version="brain.Event:2"))
        begin += _record(Event(step=0, session_log=SessionLog(status=SessionLog.START)))
        self._file = storage.join(self._folder, f"events.out.tfevents.{number:010d}.mosar")
        storage.write_bytes(self._file, begin + _events(lines))
        for name in before:
            storage.remove(storage.join(self._folder, name))


class Curves:
    """The picture of the curves of the run at ``location``.

    :meth:`update` redraws it after a new checkpoint, at most once a minute, and once more when the run is finished.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        self._drawn: int | None = None
        self._at, self._whole = float("-inf"), run.summary(location) is not None

    def update(self) -> None:
        if self._whole:
            return
        newest, whole = max(checkpoint.steps(self._location), default=0), run.summary(self._location) is not None
        if not whole and (newest in (0, self._drawn) or time.monotonic() - self._at < _DRAW_S):
            return
        name = self._location.rsplit("/", 1)[-1]
        picture = plots.curves(run.metrics(self._location), name)
        storage.write_bytes(storage.join(self._location, _CURVES), picture)
        self._drawn, self._at, self._whole = newest, time.monotonic(), whole


def values(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a metrics line by the names of their curves: ``train/...`` and ``heldout/...``."""
    found = {f"train/{name}": value for name, value in {**line, **line.get("losses", {})}.items()}
    found |= {f"heldout/{name}": value for name, value in line.get("heldout", {}).items()}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and name.split("/", 1)[1] not in _NO_CURVE
    }


def _events(lines: Iterable[Mapping[str, Any]]) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

    events = []
    for line in lines:
        curves = [Summary.Value(tag=name, simple_value=value) for name, value in values(line).items()]
        if curves:
            events.append(Event(wall_time=line.get("time", 0.0), step=line["step"], summary=Summary(value=curves)))
    return b"".join(map(_record, events))


def _record(event: Any) -> bytes:
    """Frame a record as TensorFlow does: length, its checksum, content, its checksum."""
    from tensorboardX.record_writer import masked_crc32c  # type: ignore[import-untyped]

    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked_crc32c(length)) + content + struct.pack("<I", masked_crc32c(content))
