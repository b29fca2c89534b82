"""What differs between two plain containers, for a reader."""

from typing import Any


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """Readable differences of two JSON values: ``a.b: 1 -> 2``."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        absent = "(absent)"
        return [
            line
            for key in keys
            for line in differences(before.get(key, absent), now.get(key, absent), f"{where}.{key}".lstrip("."))
        ]
    return [] if before == now else [f"{where}: {before!r} -> {now!r}"]
