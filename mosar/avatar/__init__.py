"""Avatars: the result of a reconstruction, its pictures and its files."""

from mosar.avatar.avatar import Avatar

__all__ = ["Avatar"]
