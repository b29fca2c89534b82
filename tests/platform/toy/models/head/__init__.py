"""A stand-in for the head, which the toy stages do not use."""

from types import SimpleNamespace


def load_head(path: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(digest="toy")
