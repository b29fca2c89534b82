"""Run the whole pipeline on this machine at small size: shards, training of the stages, bundle, endpoint, an avatar.

    make demo                     # ends with out/demo/avatar/sheet.png

First the shipped networks reconstruct the photograph (``out/demo/released``). All output goes below ``out``; a second
run continues what is unfinished. By default the stages go on from the shipped weights, for a few minutes on synthetic
captures. preset=tiny trains tiny networks from random weights instead: they show that the system works, not how good
its avatars get.
"""

import io
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mosar.errors import ConfigError, RunError
from mosar.jobs import hydra_main
from mosar.platform.cluster import free_ports, local_cluster

JOBS = Path(__file__).resolve().parent
_START_S = 180.0
_DATA = {"finetune": "tiny"}
"""Presets of training that use the data of another preset."""


@dataclass(frozen=True)
class Demo:
    """Attributes:

    out: folder for everything that the demo writes.
    preset: preset to train; finetune goes on from the shipped weights.
    photo: image file to reconstruct; scikit-image's astronaut if empty.
    """

    out: str = str(JOBS.parent / "out" / "demo")
    preset: str = "finetune"
    photo: str = ""

    def __post_init__(self) -> None:
        if self.photo and not Path(self.photo).is_file():
            raise ConfigError(f"photo: {self.photo} is not a file")


def main(config: Demo) -> None:
    """Run every step; each is a job that can also be run alone."""
    began = time.monotonic()
    out = Path(config.out).expanduser().absolute()
    data = photograph(config.photo)
    released(data, out)
    place = f"storage={out / 'storage'}"
    shards = ["source=virtual", f"preset={_DATA.get(config.preset, config.preset)}", place]
    common = [f"preset={config.preset}", place]
    with local_cluster() as cluster:
        environment = {**os.environ, **cluster.environment}
        step("Capturing people on the virtual light stage", "make_shards", shards, environment)
        step("Training the stages side by side", "train_all", common, environment)
        step("Assembling the bundle", "assemble", [*common, "bundle=demo"], environment)
        (port,) = free_ports(1)
        serve = ["bundle=demo", place, f"serving.port={port}"]
        with serving(serve, environment, out / "serve.log"):
            headline("Posting the photograph to the endpoint")
            files = unzip(post(f"http://127.0.0.1:{port}/v1/avatars", data))
    avatar = out / "avatar"
    for name, content in {"photo.png": data, **files}.items():
        (avatar / name).parent.mkdir(parents=True, exist_ok=True)
        (avatar / name).write_bytes(content)
    print(f"\nDone in {(time.monotonic() - began) / 60:.1f} minutes.")
    print(f"The avatar of the shipped networks:     {out / 'released'}/")
    print(f"The avatar of those that were trained:  {avatar}/")
    print("  sheet.png   the photograph, the overlay, the maps, other lights")
    print("  avatar.glb  the head, for any glTF viewer")
    print(f"The runs:    {out / 'storage' / 'runs'}/")


def released(photo: bytes, out: Path) -> None:
    """Reconstruct the photograph with the shipped networks, as ``mosar reconstruct`` does.

    Raises:
        RunError: the command failed.
    """
    headline("Reconstructing the photograph with the shipped networks")
    out.mkdir(parents=True, exist_ok=True)
    path = out / "photo.png"
    path.write_bytes(photo)
    command = [sys.executable, "-m", "mosar.jobs.cli", "reconstruct", str(path), "-o", str(out / "released")]
    if code := subprocess.run(command, cwd=JOBS.parent, check=False).returncode:
        raise RunError(f"mosar reconstruct ended with exit code {code}")


def photograph(path: str) -> bytes:
    """Return the content of the image file, or scikit-image's astronaut as PNG."""
    if path:
        return Path(path).read_bytes()
    from skimage.data import astronaut

    from mosar.datasets.png import png

    return png(astronaut())


def headline(title: str) -> None:
    """Print the title of a step."""
    print(f"\n== {title}", flush=True)


def step(title: str, job: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a job to its end.

    Raises:
        RunError: the job failed.
    """
    headline(title)
    command = [sys.executable, str(JOBS / f"{job}.py"), *arguments]
    code = subprocess.run(command, env=dict(environment), check=False).returncode
    if code:
        raise RunError(f"jobs/{job}.py {' '.join(arguments)} ended with exit code {code}")


@contextmanager
def serving(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run ``jobs/serve.py`` until the block ends.

    Raises:
        RunError: the endpoint did not start.
    """
    headline("Serving the bundle")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        command = [sys.executable, str(JOBS / "serve.py"), *arguments]
        process = subprocess.Popen(command, env=dict(environment), stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + _START_S
        while b"serving on" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RunError(f"the endpoint did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def post(url: str, data: bytes) -> bytes:
    """Post a photograph to the endpoint; return the zip of the response.

    Raises:
        RunError: the status is not 200.
    """
    import httpx

    with httpx.Client(trust_env=False, timeout=600.0) as client:  # a proxy does not reach this machine
        answer = client.post(url, content=data, headers={"Accept": "application/zip"})
    if answer.status_code != httpx.codes.OK:
        raise RunError(f"the endpoint responded with status {answer.status_code}: {answer.text[:500]}")
    return answer.content


def unzip(data: bytes) -> dict[str, bytes]:
    """Files of a zip by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


if __name__ == "__main__":
    sys.exit(hydra_main.run(main, Demo, "demo"))
