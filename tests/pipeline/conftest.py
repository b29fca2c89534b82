"""The whole pipeline, run once as a user runs it: shards, all stages and a bundle, each through ``ray job submit``."""

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from mosar.bundle import locate
from mosar.platform import cluster

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 900.0
SMALL = (
    "presets.tiny.subjects={train: 18, validation: 6, test: 0}",
    "presets.tiny.wild_subjects={train: 10, validation: 4}",
)
"""Fewer people than the preset has: enough for every stage to beat its baseline."""


@dataclass(frozen=True)
class Pipeline:
    """A cluster, a storage root with data, finished runs and a bundle, and the output of the submissions."""

    cluster: cluster.LocalCluster
    storage: Path
    printed: dict[str, str]

    @property
    def bundle(self) -> str:
        return locate("mine", str(self.storage))

    def summary(self, stage: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.storage / "runs" / f"{stage}-tiny" / "summary.json").read_text())
        return found

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.cluster.environment}

    def submit(self, checkout: Path, job: str, *arguments: str) -> subprocess.Popen[str]:
        assert self.cluster.dashboard
        environment = {**self.environment(), "RAY_ADDRESS": self.cluster.dashboard}
        command = [sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--working-dir", str(checkout), "--"]
        command += ["python", f"jobs/{job}.py", "preset=tiny", f"storage={self.storage}", *arguments]
        return subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, out[-6000:]
    return out


def copy_checkout(folder: Path) -> Path:
    """Copy the files of a user's clone."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("mosar", "platform", "models", "datasets", "jobs"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", ".rayignore"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def pipeline(
    shared_cluster: cluster.LocalCluster, checkout: Path, many_runs: FileLock, tmp_path_factory: pytest.TempPathFactory
) -> Pipeline:
    made = Pipeline(shared_cluster, tmp_path_factory.mktemp("pipeline"), {})
    made.printed["make_shards"] = finish(made.submit(checkout, "make_shards", "source=virtual", *SMALL))
    with many_runs:
        made.printed["train_all"] = finish(made.submit(checkout, "train_all"))
    made.printed["assemble"] = finish(made.submit(checkout, "assemble"))
    return made


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray[Any, np.dtype[np.uint8]]:
    from skimage.data import astronaut as portrait

    return np.asarray(portrait(), np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def photographs(astronaut: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[str, bytes]:
    """Photographs that must work."""
    image = Image.fromarray(astronaut)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned by 90 degrees
    deep = Image.fromarray(astronaut.mean(axis=2).astype(np.uint16) * 257)
    return {
        "plain": encoded(image, "PNG"),
        "jpeg": encoded(image, "JPEG", quality=90),
        "grey": encoded(image.convert("L"), "PNG"),
        "rgba": encoded(image.convert("RGBA"), "PNG"),
        "sixteen": encoded(deep, "PNG"),
        "turned": encoded(image.rotate(90, expand=True), "JPEG", quality=92, exif=turned),
    }


@pytest.fixture(scope="session")
def mistakes(astronaut: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[str, tuple[bytes, str]]:
    """Inputs that must be refused, each with words of its error message."""
    image = Image.fromarray(astronaut)
    whole = encoded(image, "PNG")
    huge = encoded(Image.new("1", (12_000, 12_000)), "PNG")
    return {
        "noface": (encoded(Image.new("RGB", (256, 256), (90, 120, 60)), "PNG"), "no face"),
        "twofaces": (encoded(Image.fromarray(np.concatenate([astronaut, astronaut], axis=1)), "PNG"), "2 faces"),
        "text": (b"this is not an image", "not an image"),
        "empty": (b"", "not an image"),
        "truncated": (whole[: len(whole) // 2], "cut short"),
        "dot": (encoded(Image.new("RGB", (1, 1)), "PNG"), "too small"),
        "huge": (huge, "too large"),
    }
