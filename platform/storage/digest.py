"""Digests: of bytes, of files, and of plain containers by their canonical JSON."""

import hashlib
import json
from typing import Any

from mosar.platform import storage

_CHUNK = 1 << 20


def of_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def of_file(location: str) -> str:
    digest = hashlib.sha256()
    with storage.open_read(location) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def of_json(value: Any) -> str:
    """Digest of a plain container; the order of keys does not matter."""
    return of_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def seed(*parts: int | str) -> int:
    """A 63-bit seed from words and numbers: independent for different parts, the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:8], "little") >> 1
