"""Fetch the judges' weights: one pinned npm package, of which four files are kept; every digest is verified.

The package is `@vladmandic/face-api` (MIT). Its recognition weights are those of dlib, which dlib's author released
into the public domain. They are used for evaluation only: no loss and no wheel contains them.
"""

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from mosar.errors import ConfigError, DataError, RunError
from mosar.platform import storage
from mosar.platform.storage import digest

FOLDER = "judges"
"""Folder below the storage root."""
REGISTRY = "https://registry.npmjs.org"
_LARGEST_ARCHIVE = 256 << 20
"""Bytes that an archive may unpack to; the package has 27 million."""
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)


@dataclass(frozen=True)
class Member:
    """A file of the package: its path in the archive, size in bytes, sha256."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Package:
    """A version of an npm package: size and sha256 of its archive, and the files to keep, by name."""

    name: str
    version: str
    bytes: int
    sha256: str
    members: Mapping[str, Member]

    def url(self, registry: str) -> str:
        """Where a registry has the archive."""
        return f"{registry.rstrip('/')}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


def _model(name: str, size: int, sha256: str) -> tuple[str, Member]:
    return name, Member(f"package/model/{name}", size, sha256)


FACE_API = Package(
    name="@vladmandic/face-api",
    version="1.7.15",
    bytes=12_677_476,
    sha256="0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
    members=dict([
        _model(
            "face_recognition_model-weights_manifest.json",
            19_615,
            "cbaffa501b0b9275a12b63357a6843e7e30c054e1c9151e1a5f879b26e32986b",
        ),
        _model(
            "face_recognition_model.bin",
            6_444_032,
            "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589",
        ),
        _model(
            "face_landmark_68_model-weights_manifest.json",
            8_485,
            "ca4886639f86e99b39fed0c155f81b63317225773bd9616716e887b0153389c9",
        ),
        _model(
            "face_landmark_68_model.bin",
            356_840,
            "4611ef65c87d836d03d684b30eec4d195d8b219fa1dd58fc58945831c6b9299b",
        ),
    ]),
)  # fmt: skip


def fetch(folder: str, registry: str | None = None, package: Package = FACE_API) -> bool:
    """Download the package and write its members to ``folder``; False if they are all there already.

    Nothing is written before everything is verified. ``registry``: default npm's own setting ``npm_config_registry``,
    else ``REGISTRY``. Proxies and certificates are those of ``HTTPS_PROXY``, ``NO_PROXY`` and ``SSL_CERT_FILE``.

    Raises:
        ConfigError: the registry is no http address.
        RunError: the registry cannot be reached, has no such package, or the connection was cut.
        DataError: the archive or one of its members is not the pinned one.
    """
    if not missing(folder, package):
        return False
    url = package.url(registry or _registry())
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"registry: got {url!r}, expected an address that begins with https://")
    files = unpack(download(url, package), package)
    for name, content in files.items():
        storage.write_bytes(storage.join(folder, name), content)
    return True


def missing(folder: str, package: Package = FACE_API) -> list[str]:
    """Names of the members that are not in ``folder``, or are not the pinned ones."""

    def is_there(name: str, member: Member) -> bool:
        location = storage.join(folder, name)
        return storage.exists(location) and digest.of_file(location) == member.sha256

    return [name for name, member in package.members.items() if not is_there(name, member)]


def download(url: str, package: Package) -> bytes:
    """Return the archive at ``url``; see :func:`fetch`."""
    content = bytearray()
    # As stored: a registry may name the archive's own compression, which must not be undone.
    headers = {"Accept-Encoding": "identity"}
    try:
        with httpx.stream("GET", url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as answer:
            if answer.status_code != httpx.codes.OK:
                raise RunError(
                    f"{url}: the registry answered with status {answer.status_code}; choose another with registry=URL"
                )
            for chunk in answer.iter_raw():
                content += chunk
                if len(content) > package.bytes:
                    raise DataError(f"{url}: more than the {package.bytes} bytes of {package.name} {package.version}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise RunError(
            f"{url}: not downloaded ({error or type(error).__name__}); check the network, HTTPS_PROXY and"
            " npm_config_registry, then repeat the command; nothing was written"
        ) from error
    if (found := hashlib.sha256(content).hexdigest()) != package.sha256:
        raise DataError(
            f"{url}: {len(content)} bytes of sha256 {found}, expected {package.bytes} bytes of sha256 {package.sha256}"
        )
    return bytes(content)


def unpack(archive: bytes, package: Package) -> dict[str, bytes]:
    """Return the wanted members by name, verified. Nothing is written to disk; other members are not read.

    Raises:
        DataError: not a gzipped tar file, a member's path leads out of the archive, or a wanted member is missing, not
            a plain file, or not the pinned one.
    """
    wanted = {member.path: name for name, member in package.members.items()}
    files: dict[str, bytes] = {}
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as packed:
            content = packed.read(_LARGEST_ARCHIVE + 1)
        if len(content) > _LARGEST_ARCHIVE:
            raise DataError(f"{package.name}: the archive unpacks to more than {_LARGEST_ARCHIVE} bytes")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for entry in tar:
                if entry.name.startswith("/") or ".." in entry.name.split("/"):
                    raise DataError(f"{package.name}: the archive has the member {entry.name!r}, which leads out of it")
                if entry.name in wanted:
                    name = wanted[entry.name]
                    files[name] = _verified(tar, entry, package.members[name])
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{package.name}: the archive is damaged ({error})") from error
    if absent := [name for name in package.members if name not in files]:
        raise DataError(f"{package.name}: the archive has no {absent[0]}")
    return files


def _verified(tar: tarfile.TarFile, entry: tarfile.TarInfo, member: Member) -> bytes:
    file = tar.extractfile(entry) if entry.isfile() and entry.size == member.bytes else None
    content = file.read() if file is not None else b""
    if digest.of_bytes(content) != member.sha256:
        raise DataError(f"{entry.name}: not the file of {member.bytes} bytes and sha256 {member.sha256}")
    return content


def _registry() -> str:
    """npm reads its settings from the environment in either case."""
    own = os.environ.get("npm_config_registry")  # noqa: SIM112
    return own or os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY
