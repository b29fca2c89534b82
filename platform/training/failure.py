"""How a worker tells the driver that trying again does not help: a note in the run's folder."""

from mosar import errors
from mosar.platform import storage
from mosar.platform.training.run_spec import RunSpec

_FAILURE, _TRACEBACK = "failure.json", "traceback.txt"


def note_failure(spec: RunSpec, error: errors.MosarError) -> None:
    """From a worker: this cannot be mended by trying again."""
    note = {"submission": spec.submission, "kind": type(error).__name__, "message": str(error)}
    storage.write_json(storage.join(spec.location, _FAILURE), note)


def keep_traceback(spec: RunSpec, text: str) -> str:
    """Keep a traceback in the run's folder; words that say where."""
    where = storage.join(spec.location, _TRACEBACK)
    storage.write_bytes(where, text.encode())
    return f"traceback in {where}"


def failed(spec: RunSpec) -> dict[str, str] | None:
    """What a worker of this submission noted."""
    where = storage.join(spec.location, _FAILURE)
    note = storage.read_json(where) if storage.exists(where) else {}
    return note if note.get("submission") == spec.submission else None


def raise_failure(spec: RunSpec) -> None:
    note = failed(spec)
    if note is not None:
        storage.remove(storage.join(spec.location, _FAILURE))
        raise getattr(errors, note["kind"])(note["message"])
