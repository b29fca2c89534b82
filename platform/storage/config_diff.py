"""Differences between two plain containers, as readable text."""

from typing import Any


def differences(before: Any, now: Any, where: str = "") -> list[tuple[str, str]]:
    """Dotted keys at which two JSON values differ, each with the change: ``("a.b", "1 -> 2")``."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        absent = "(absent)"
        return [
            difference
            for key in keys
            for difference in differences(before.get(key, absent), now.get(key, absent), f"{where}.{key}".lstrip("."))
        ]
    return [] if before == now else [(where, f"{before!r} -> {now!r}")]
