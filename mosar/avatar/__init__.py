"""Avatars: what a reconstruction gives, its pictures and its files."""

from mosar.avatar.avatar import Avatar

__all__ = ["Avatar"]
