"""The avatar, its pictures and its files."""

from mosar.avatar.avatar import Avatar, Maps

__all__ = ["Avatar", "Maps"]
