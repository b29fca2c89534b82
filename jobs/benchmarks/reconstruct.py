"""Measure the time and memory of a reconstruction: one photograph to an avatar, with a loaded bundle.

Times are medians over rounds after one call that is not counted, in this process; memory is the peak of a fresh process
that reconstructs one avatar and makes its files, libraries and bundle included. Without ``photo`` it is scikit-image's
astronaut, enlarged where maps of 2048 and 4096 texels are asked for. ``memory_50_over_1_megapixels_gb`` is what an
enlarged astronaut of 50 megapixels takes above one of a single megapixel, each with maps of the size that suits it.

``cold_start_s`` and ``peak_rss_gb`` are of ``mosar reconstruct`` on one photograph, from the start of the process to
its end. ``batch_over_single`` is the rate of that command with as many workers as cores (at most eight) over its rate
with one worker, on four photographs for each worker, the loading of bundles included.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from skimage.data import astronaut

import mosar
from mosar.datasets.photographs import read_photograph
from mosar.errors import ConfigError, RunError
from mosar.platform.cluster.core_count import cores

LARGE, LARGEST = 2048, 4096
_SIDE = {512: 512, LARGE: 2048, LARGEST: 4096}  # pixels of the photograph for maps of these texels
_MEGAPIXEL, _MEGAPIXELS_50 = 1024, 7071  # sides of square photographs
_MEASURED = """
import json, resource, sys
from mosar.jobs.benchmarks import reconstruct
reconstruct.once(**json.loads(sys.argv[1]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
_TIMED = """
import resource, sys
from mosar.jobs import cli
code = cli.main(sys.argv[1:])
usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(usage / 2**20)
sys.exit(code)
"""


@dataclass(frozen=True)
class Config:
    """Attributes:

    bundle: name or location of the bundle.
    storage: root of the bundles; default: MOSAR_STORAGE, else ~/.mosar.
    photo: an image file with one face; by default an enlarged portrait of scikit-image.
    rounds: reconstructions of which the median is taken.
    threads: threads of torch during a reconstruction.
    """

    bundle: str = "released"
    storage: str | None = None
    photo: str | None = None
    rounds: int = 3
    threads: int = 1

    def __post_init__(self) -> None:
        if min(self.rounds, self.threads) < 1:
            raise ConfigError(f"got rounds={self.rounds}, threads={self.threads}; expected at least 1")


def run(config: Config) -> dict[str, Any]:
    """Return the metrics: seconds at 512 and 2048 texels, of steps at 512, and GiB at 4096 and of large photographs."""
    seconds, steps = _timed(config, 512)
    metrics: dict[str, Any] = {"threads": config.threads, "photo_to_avatar_s": seconds}
    metrics |= {f"{name}_s": value for name, value in steps.items()}
    metrics[f"photo_to_avatar_{LARGE}_s"] = _timed(config, LARGE)[0]
    metrics[f"memory_{LARGEST}_gb"] = _memory(config, config.photo, _SIDE[LARGEST], LARGEST)
    one, fifty = (_memory(config, None, side, None) for side in (_MEGAPIXEL, _MEGAPIXELS_50))
    metrics |= {"memory_1_megapixel_gb": one, "memory_50_over_1_megapixels_gb": round(fifty - one, 3)}
    cold, rss = zip(*(_command(config, 1, 1) for _ in range(config.rounds)), strict=True)
    workers = min(8, cores())
    single, batch = (_command(config, 4 * workers, each)[0] for each in (1, workers))
    return metrics | {
        "cold_start_s": statistics.median(cold),
        "peak_rss_gb": max(rss),
        "batch_over_single": round(single / batch, 3),
    }


def _command(config: Config, photographs: int, workers: int) -> tuple[float, float]:
    """Seconds and peak memory (GiB, of its largest process) of ``mosar reconstruct`` on copies of the portrait."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(photographs):
            cv2.imwrite(f"{folder}/{number}.png", _photograph(config.photo, _SIDE[512])[..., ::-1])
        arguments = [*map(str, sorted(Path(folder).glob("*.png"))), "-o", f"{folder}/out", "--bundle", config.bundle]
        arguments += ["--size", "512", "--workers", str(workers)]
        arguments += ["--storage", config.storage] if config.storage else []
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _TIMED, "reconstruct", *arguments], capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise RunError(f"mosar reconstruct failed: {done.stderr.strip().splitlines()[-1:]}")
    return round(seconds, 2), round(float(done.stdout.split()[-1]), 3)


def once(bundle: str, storage: str | None, photo: str | None, side: int, size: int | None) -> None:
    """Reconstruct and encode one avatar; ``side``: pixels of the enlarged portrait, ``size``: texels of the maps."""
    with mosar.load(bundle, storage=storage, size=size) as reconstructor:
        reconstructor(_photograph(photo, side)).files()


def _timed(config: Config, size: int) -> tuple[float, dict[str, float]]:
    """Median seconds of a call, and of its steps."""
    image = _photograph(config.photo, _SIDE[size])
    times, steps = [], []
    with mosar.load(config.bundle, storage=config.storage, size=size, threads=config.threads) as reconstructor:
        for _ in range(config.rounds + 1):
            start = time.perf_counter()
            avatar = reconstructor(image)
            times.append(time.perf_counter() - start)
            steps.append(avatar.timings_s)
    names = steps[0].keys()
    return statistics.median(times[1:]), {n: round(statistics.median(s[n] for s in steps[1:]), 4) for n in names}


def _memory(config: Config, photo: str | None, side: int, size: int | None) -> float:
    arguments = {"bundle": config.bundle, "storage": config.storage, "photo": photo, "side": side, "size": size}
    command = [sys.executable, "-c", _MEASURED, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError(f"a reconstruction of {side} x {side} pixels failed: {done.stderr.strip().splitlines()[-1:]}")
    return round(float(done.stdout.split()[-1]), 3)


def _photograph(photo: str | None, side: int) -> npt.NDArray[np.uint8]:
    if photo is not None:
        return read_photograph(Path(photo).read_bytes())
    image = np.asarray(astronaut(), np.uint8)
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
