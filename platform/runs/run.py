"""A run: a folder with a stable name that holds everything about one training, which can resume from it.

fingerprint.json   what decides the result: configuration, digests of the data and of the parents' weights
record.json     what it ran on: revision and digest of the code, package versions; a new entry whenever they change
metrics.jsonl   a line every few steps
previews/       pictures
checkpoints/    see :mod:`mosar.platform.runs.checkpoint`
weights.safetensors, summary.json   the result; the summary is written last and means that the run is finished
"""

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosar.errors import ConfigError, DataError
from mosar.platform import storage
from mosar.platform.runs import checkpoint
from mosar.platform.storage import config_diff, digest

if TYPE_CHECKING:
    from torch import Tensor

_PACKAGES = ("ray", "torch", "numpy", "pyarrow", "numba", "easypytorch3d", "safetensors")
METRICS = "metrics.jsonl"
WEIGHTS = "weights.safetensors"
_FINGERPRINT, _RECORD, _SUMMARY = "fingerprint.json", "record.json", "summary.json"
_PLACES = ("location", "path")
REVISION_FILE = "REVISION"
_ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("mosar", "platform", "models", "datasets", "jobs")


def begin(location: str, fingerprint: Mapping[str, Any], without_effect: Sequence[str] = ()) -> bool:
    """Make the run's folder, or continue an existing run with the same fingerprint. Returns True if it existed.

    If code or packages changed since the run last trained, records the change and prints a warning. The caller must
    hold the run (:mod:`mosar.platform.runs.run_lock`).

    Raises:
        ConfigError: see :func:`check`.
    """
    if not check(location, fingerprint, without_effect):
        storage.write_json(storage.join(location, _RECORD), [_record()])
        storage.write_json(storage.join(location, _FINGERPRINT), json.loads(json.dumps(fingerprint)))
        return False
    _record_changes(location)
    return True


def check(location: str, fingerprint: Mapping[str, Any], without_effect: Sequence[str] = ()) -> bool:
    """Whether the run exists; an existing run must have the same fingerprint.

    ``without_effect`` lists dotted keys that may differ. Every ``location`` and ``path`` may differ too, because they
    say where the inputs are and not what they contain.

    Raises:
        ConfigError: the fingerprint differs (the message shows where).
    """
    where = storage.join(location, _FINGERPRINT)
    if not storage.exists(where):
        return False
    differences = config_diff.differences(storage.read_json(where), json.loads(json.dumps(fingerprint)))
    free = {*without_effect}
    lines = [f"{key}: {change}" for key, change in differences if key not in free and key.split(".")[-1] not in _PLACES]
    if lines:
        raise ConfigError(
            f"run {location} was begun with another configuration ({'; '.join(lines)}); "
            "give it another name (run=...) or go back to the old configuration"
        )
    return True


def fingerprint(location: str) -> dict[str, Any]:
    """Raises DataError if there is no such run."""
    found = storage.read_json(storage.join(location, _FINGERPRINT))
    assert isinstance(found, dict)
    return found


def summary(location: str) -> dict[str, Any] | None:
    """The summary of a finished run; None if the run is not finished."""
    where = storage.join(location, _SUMMARY)
    return storage.read_json(where) if storage.exists(where) else None


def finish(location: str, weights: Mapping[str, "Tensor"], result: Mapping[str, Any]) -> dict[str, Any]:
    """Write the weights, then the summary: ``result`` with ``weights_sha256``. Returns the summary."""
    content = checkpoint.to_bytes(weights)
    storage.write_bytes(storage.join(location, WEIGHTS), content)
    found = {**result, "weights_sha256": digest.of_bytes(content)}
    storage.write_json(storage.join(location, _SUMMARY), found)
    return found


def weights(location: str) -> dict[str, "Tensor"]:
    """The weights of a finished run; raises the errors of :func:`weights_file`."""
    return checkpoint.from_bytes(weights_file(location), location)


def weights_file(location: str) -> bytes:
    """The safetensors file of a finished run, verified.

    Raises:
        DataError: the run is not finished, or its weights were altered.
    """
    found = summary(location)
    if found is None:
        raise DataError(f"{location}: no finished run here; train it first")
    content = storage.read_bytes(storage.join(location, WEIGHTS))
    if digest.of_bytes(content) != found["weights_sha256"]:
        raise DataError(f"{location}: {WEIGHTS} was altered (its sha256 is not the summary's); train it again")
    return content


def log(location: str, line: Mapping[str, Any]) -> None:
    """Append a line to the metrics."""
    storage.append_bytes(storage.join(location, METRICS), (json.dumps(line, sort_keys=True) + "\n").encode())


def metrics(location: str) -> list[dict[str, Any]]:
    """All complete lines of the metrics so far."""
    where = storage.join(location, METRICS)
    text = storage.read_bytes(where).decode() if storage.exists(where) else ""
    return _lines(text[: text.rfind("\n") + 1], where)


class Tail:
    """Reads the metrics of a run as they grow."""

    def __init__(self, location: str) -> None:
        self._where = storage.join(location, METRICS)
        self._inode: int | None = None
        self._offset = 0
        self._read = digest.of_bytes(b"")
        """Digest of the bytes read so far; used if the file has no inode."""

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """New complete lines and False; or all lines and True if the file was replaced, as a rewind does."""
        if not storage.exists(self._where):
            return [], False
        inode = storage.inode(self._where)
        if inode is None:
            return self._read_object()
        anew = inode != self._inode
        if anew:
            self._inode, self._offset = inode, 0
        with storage.open_read(self._where) as file:
            file.seek(self._offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return _lines(whole.decode(), self._where), anew

    def _read_object(self) -> tuple[list[dict[str, Any]], bool]:
        """Each line replaces an object; the digest of the bytes read before shows whether it only grew."""
        if self._offset and storage.size(self._where) == self._offset:
            return [], False
        content = storage.read_bytes(self._where)
        content = content[: content.rfind(b"\n") + 1]
        anew = digest.of_bytes(content[: self._offset]) != self._read
        first = 0 if anew else self._offset
        self._offset, self._read = len(content), digest.of_bytes(content)
        return _lines(content[first:].decode(), self._where), anew


def _lines(text: str, where: str) -> list[dict[str, Any]]:
    """Raises DataError if a line is not JSON."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise DataError(f"{where}: a line is not JSON ({line[:40]!r}, line {number} of those read)") from error
    return found


def rewind_metrics(location: str, step: int) -> None:
    """Drop the lines after ``step``: a run that resumes there writes them again."""
    lines = [line for line in metrics(location) if line["step"] <= step]
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    storage.write_bytes(storage.join(location, METRICS), text.encode())


def _record_changes(location: str) -> None:
    """Add an entry to the record if it differs from the last entry, and print a warning."""
    where = storage.join(location, _RECORD)
    entries = storage.read_json(where) if storage.exists(where) else []
    entries = entries if isinstance(entries, list) else [entries]
    last, now = (entries[-1] if entries else {}), _record()
    changes = [one for key in ("code", "packages") for one in config_diff.differences(last.get(key), now[key], key)]
    if not changes or summary(location) is not None:
        return
    storage.write_json(where, [*entries, now])
    lines = "; ".join(f"{key}: {change}" for key, change in changes)
    print(
        f"warning: run {location} continues with other code or packages and may end with other weights ({lines})",
        file=sys.stderr,
    )


def _record() -> dict[str, Any]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    return {"begun": begun, "revision": revision(_ROOT), "code": _code(), "packages": versions}


def _code() -> str:
    """Digest of the Python files, which a job's folder holds even if it is not a git checkout."""
    files = sorted(path for folder in _FOLDERS for path in (_ROOT / folder).rglob("*.py"))
    return digest.of_json([[path.relative_to(_ROOT).as_posix(), digest.of_bytes(path.read_bytes())] for path in files])


def revision(folder: Path) -> str:
    """Git revision of the code, with ``+`` if files were changed.

    Outside a git checkout, the one that was noted in the file REVISION when the code was packed, else "unknown".
    """
    if (folder / REVISION_FILE).is_file():
        return (folder / REVISION_FILE).read_text(encoding="utf-8").strip()
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
