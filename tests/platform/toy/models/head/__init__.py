"""Stands in for the head: the toy stages know of none."""

from types import SimpleNamespace


def load_head(path: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(digest="toy")
