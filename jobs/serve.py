"""Serve a bundle on Ray Serve: ``POST /v1/avatars`` (a photograph in; GLB, zip or sheet out), ``/healthz``, a page.

python jobs/serve.py bundle=mine
curl --data-binary @portrait.jpg -H 'Accept: application/zip' http://127.0.0.1:8000/v1/avatars -o avatar.zip
"""

import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mosar.bundle import RELEASED, locate
from mosar.config import parse
from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.platform.serving import endpoint
from mosar.platform.serving.config import ServingConfig
from mosar.platform.storage import bundle as bundles

PAGE = Path(__file__).parent / "page" / "index.html"
ROUTE = "/v1/avatars"
GLB, ZIP, PNG = "model/gltf-binary", "application/zip", "image/png"


@dataclass(frozen=True)
class Serve:
    """The bundle, how it reconstructs, and where it is served.

    Attributes:
        bundle: name in ``bundles/`` of the storage root, a folder, or a URI.
        storage: storage root; default: MOSAR_STORAGE, else ~/.mosar.
        device: cpu or cuda.
        fit_steps: steps of the shape fit, 0 for none.
        size: texels a side of albedo and normals (512, 1024, 2048 or 4096); by default as many as each photograph
            needs. Memory grows with it: 4096 take about 5 GB.
        serving: address and limits of the endpoint.
    """

    bundle: str = "released"
    storage: str | None = None
    device: str = "cpu"
    fit_steps: int = 8
    size: int | None = None
    serving: ServingConfig = field(default_factory=ServingConfig)

    def __post_init__(self) -> None:
        if self.device not in {"cpu", "cuda"}:
            raise ConfigError(f"device: got {self.device!r}, expected cpu or cuda")
        if self.fit_steps < 0:
            raise ConfigError(f"fit_steps: got {self.fit_steps}, expected 0 or more")
        from mosar.models.reconstruct.seen import SIZES

        if self.size is not None and self.size not in SIZES:
            raise ConfigError(f"size: got {self.size}, expected one of {', '.join(map(str, SIZES))}, or null")


def main(config: Serve) -> None:
    """Deploy on the cluster and serve until interrupted."""
    bundles.read_manifest(locate(config.bundle, config.storage))
    from mosar.platform.cluster import connect

    if config.device == "cuda" and not config.serving.gpus:
        raise ConfigError("device: cuda needs GPUs for the replicas; set serving.gpus=1")
    endpoint.check_port(config.serving)
    with connect():
        endpoint.start(config.serving, *parts(config))
        print(f"serving on http://{config.serving.host}:{config.serving.port}/", flush=True)
        stop = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.set())
        stop.wait()
        endpoint.stop()


def application(arguments: Mapping[str, Any]) -> Any:
    """Build the same endpoint for Ray Serve's ``import_path``; ``arguments`` are the keys of this job."""
    config = parse(Serve, arguments, "serve")
    return endpoint.application(config.serving, *parts(config))


class AvatarHandler:
    """Reconstructs avatars from photographs in a replica."""

    def __init__(self, bundle: str, storage: str | None, device: str, fit_steps: int, size: int | None) -> None:
        from mosar.reconstructor import Reconstructor

        # The shipped bundle lies where this node has the program, which need not be where the driver has it.
        self._reconstructor = Reconstructor(locate(bundle, storage), device, fit_steps, size=size)

    def respond(self, body: bytes, media_type: str) -> bytes:
        """Return the avatar as GLB, as a zip of every file, or its sheet as PNG."""
        from mosar.avatar.files import zipped

        avatar = self._reconstructor(body)
        one = {GLB: "avatar.glb", PNG: "sheet.png"}.get(media_type)
        return avatar.files([one])[one] if one else zipped(avatar.files())

    def health(self) -> Mapping[str, Any]:
        """Fields of the response to ``GET /healthz``."""
        bundle = self._reconstructor.bundle
        return {"bundle_digest": bundle.digest, "head_digest": bundle.head.digest}


def parts(config: Serve) -> tuple[Callable[[], endpoint.Handler], str, tuple[str, ...], str]:
    """What :func:`endpoint.start` needs beside its limits: the handler's maker, its route and media types, the page."""
    bundle = RELEASED if config.bundle == RELEASED else locate(config.bundle, config.storage)
    build = partial(AvatarHandler, bundle, config.storage, config.device, config.fit_steps, config.size)
    return build, ROUTE, (GLB, ZIP, PNG), PAGE.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Serve, "serve"))
