"""Failures: a note by which a worker tells the driver that a retry does not help, and a second start if one helps."""

import sys
from collections.abc import Callable

from mosar import errors
from mosar.platform import storage
from mosar.platform.monitoring.redact import redact
from mosar.platform.training.run_spec import RunSpec

_FAILURE, _TRACEBACK = "failure.json", "traceback.txt"
_MENDED = {
    "never ran": "Ray Train's controller died before it began",
    "EADDRINUSE": "another process took the port of Ray Train's workers",
}
"""Sign of an error that a second start mends -> what is said of it."""


def note_failure(spec: RunSpec, error: errors.MosarError) -> None:
    """Record, on a worker, an error that a retry cannot mend."""
    note = {"submission": spec.submission, "kind": type(error).__name__, "message": redact(str(error))}
    storage.write_json(storage.join(spec.location, _FAILURE), note)


def keep_traceback(spec: RunSpec, text: str) -> str:
    """Write a traceback to the run's folder. Returns a phrase that names the file."""
    where = storage.join(spec.location, _TRACEBACK)
    storage.write_bytes(where, redact(text).encode())
    return f"traceback in {where}"


def failed(spec: RunSpec) -> dict[str, str] | None:
    """The note of a worker of this submission; None if there is none."""
    where = storage.join(spec.location, _FAILURE)
    note = storage.read_json(where) if storage.exists(where) else {}
    return note if note.get("submission") == spec.submission else None


def raise_failure(spec: RunSpec) -> None:
    note = failed(spec)
    if note is not None:
        storage.remove(storage.join(spec.location, _FAILURE))
        raise getattr(errors, note["kind"])(note["message"])


def begin(train: Callable[[], None], location: str, retries: int) -> None:
    """Run ``train()``; again, at most ``retries`` times, if Ray Train failed to begin, which a second start mends.

    With Ray 2.60 an actor's process sometimes crashes while it starts (the kernel's log shows a segmentation fault in
    Ray's core), and Ray does not start a controller again. The port on which the workers shall meet is free when Ray
    chooses it, but another process may take it before they do.

    Raises:
        ActorDiedError: the controller died later, or too often.
        ControllerError: the controller failed for another reason, or too often.
    """
    from ray.exceptions import ActorDiedError
    from ray.train.v2.api.exceptions import ControllerError

    for _ in range(retries):
        try:
            return train()
        except (ActorDiedError, ControllerError) as error:
            reason = next((told for sign, told in _MENDED.items() if sign in str(error)), None)
            if reason is None:
                raise
            print(f"{location}: {reason}; starting it again", file=sys.stderr)
    return train()
