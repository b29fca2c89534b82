"""Who wears glasses: thresholds of what is found near the eyes, and a list made by eye."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosar.errors import ConfigError
from mosar.platform import storage

SHIPPED = Path(__file__).with_name("glasses.txt")


def best_threshold(share_n: NDArray[np.floating], worn_n: NDArray[np.bool_]) -> float | None:
    """Threshold with the highest mean of the shares of right answers for both kinds; None if there is one kind only.

    Of several that are best it is the middle one.
    """
    if worn_n.all() or not worn_n.any():
        return None
    values = np.unique(np.concatenate([share_n, [0.0]]))
    candidates = (values[1:] + values[:-1]) / 2
    if not len(candidates):
        return None
    above = share_n[None] > candidates[:, None]
    right = (above[:, worn_n].mean(1) + (~above[:, ~worn_n]).mean(1)) / 2
    best = candidates[right == right.max()]
    return float(best[len(best) // 2])


def read_labels(location: str | None) -> dict[str, bool]:
    """Digest of an image file -> whether the person wears glasses; by default the shipped list.

    Digests instead of names: a label belongs to a picture, and the list says nothing about anybody by name.

    Raises:
        ConfigError: there is no such file, or a line is not ``SHA256 yes`` or ``SHA256 no``.
    """
    where = str(SHIPPED) if location is None else location
    where = where if storage.is_uri(where) else str(Path(where).expanduser().absolute())
    if not storage.exists(where):
        raise ConfigError(f"glasses: {where}: no such file; expected lines of SHA256 and yes or no")
    labels = {}
    for number, line in enumerate(storage.read_bytes(where).decode(errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2 or len(words[0]) != 64 or words[1] not in {"yes", "no"}:
            raise ConfigError(
                f"glasses: {where}, line {number}: got {line[:80]!r}, expected 'SHA256 yes' or 'SHA256 no'"
            )
        labels[words[0].lower()] = words[1] == "yes"
    return labels
