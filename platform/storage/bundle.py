"""A bundle: a folder whose manifest holds the sha256 of every file. Callers decide what the files mean."""

from collections.abc import Mapping
from typing import Any

from mosar.errors import BundleError, DataError
from mosar.platform import storage
from mosar.platform.storage import digest

MANIFEST = "manifest.json"
_FORMAT = 1


def write_files(location: str, files: Mapping[str, bytes], about: Mapping[str, Any]) -> str:
    """Write ``files`` (relative path -> content) and then the manifest, which makes the bundle valid.

    ``about`` must be JSON-ready and is stored in the manifest. Returns the bundle's digest, the manifest's sha256.
    """
    for name in files:
        _check_name(name, location)
    storage.remove(storage.join(location, MANIFEST))
    for name, content in sorted(files.items()):
        storage.write_bytes(storage.join(location, name), content)
    manifest = {
        "format": _FORMAT,
        "about": dict(about),
        "files": {name: {"bytes": len(c), "sha256": digest.of_bytes(c)} for name, c in sorted(files.items())},
    }
    storage.write_json(storage.join(location, MANIFEST), manifest)
    return digest_of(location)


def digest_of(location: str) -> str:
    return digest.of_file(storage.join(location, MANIFEST))


def read_manifest(location: str) -> dict[str, Any]:
    """Read the manifest without verifying the files.

    Raises:
        BundleError: the manifest is missing or has another format.
    """
    try:
        manifest = storage.read_json(storage.join(location, MANIFEST))
    except DataError as error:
        raise BundleError(f"{location}: not a bundle ({error}); assemble one first") from error
    whole = isinstance(manifest, dict) and {"about", "files"} <= manifest.keys()
    if not whole or manifest.get("format") != _FORMAT:
        raise BundleError(f"{location}: not a bundle of format {_FORMAT}")
    return manifest


def read_files(location: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Read all files and ``about``, and verify every byte.

    Raises:
        BundleError: the manifest or a file is missing, or a file was altered; the message names it.
    """
    manifest = read_manifest(location)
    files = {}
    for name, row in manifest["files"].items():
        _check_name(name, location)
        try:
            content = storage.read_bytes(storage.join(location, name))
        except DataError as error:
            raise BundleError(f"{location}: {name} is missing") from error
        if digest.of_bytes(content) != row["sha256"]:
            raise BundleError(f"{location}: {name} was altered (its sha256 is not the manifest's)")
        files[name] = content
    return files, manifest["about"]


def _check_name(name: str, location: str) -> None:
    if name == MANIFEST or name.startswith("/") or ".." in name.split("/") or "\\" in name:
        raise BundleError(f"{location}: {name!r} is not a name for a bundle's file; use a relative path without ..")
