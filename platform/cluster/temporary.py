"""A folder for Ray's sockets, logs and spilled objects that is writable and has a short path."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mosar.errors import RunError

_LONGEST = 40
"""Characters of the folder: the path of a socket has at most 107, of which Ray uses 65 below its folder."""


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """Make a folder for one cluster, and remove it at the end of the block.

    It lies in ``RAY_TMPDIR``, else in the first usable of the temporary folder, /tmp, /var/tmp and /dev/shm.

    Raises:
        RunError: none of them is writable and short enough.
    """
    given = os.environ.get("RAY_TMPDIR")
    tried = [given] if given else list(dict.fromkeys([_default(), "/tmp", "/var/tmp", "/dev/shm"]))  # noqa: S108
    problems = []
    for parent in tried:
        try:
            folder = Path(tempfile.mkdtemp(prefix="mosar-", dir=parent))
        except OSError as error:
            problems.append(f"{parent}: {error.strerror}")
            continue
        if len(str(folder)) <= _LONGEST:
            break
        folder.rmdir()
        problems.append(f"{parent}: longer than {_LONGEST - len(folder.name) - 1} characters")
    else:
        raise RunError(
            f"Ray needs a writable temporary folder with a short path ({'; '.join(problems)}); set RAY_TMPDIR"
        )
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _default() -> str:
    """The temporary folder as the environment names it, whether or not it is writable."""
    return next((os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)), "/tmp")  # noqa: S108
