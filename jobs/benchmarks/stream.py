"""Compare our stream with webdataset + DataLoader and ray.data.read_webdataset: same shards, decoder and batches.

All use the same number of reader processes. Rounds alternate between the loaders, and each round begins with the next
one, so that a drift of the machine favours none. A rate leaves out the first fifth of the batches, while processes
start and memory is used for the first time. Ratios are formed within a round; their median counts, and ``..._range`` is
their smallest and largest. Memory is the peak proportional set size of a separate process and its descendants. Planning
runs in separate processes too; ``plan_100m_rss_mb`` is the growth of peak memory over a manifest of one shard.

``read_webdataset`` is measured in two ways, both with as many processes as ours, which Ray distributes: decoding by
batches, the usual way, in which reading and decoding are separate tasks; and decoding whole blocks, which Ray Data
fuses with reading into one task (``fused``; the iterator cuts the batches).
"""

import dataclasses
import io
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from mosar.errors import ConfigError
from mosar.platform import cluster
from mosar.platform.data import manifest, shards, stream, writer
from mosar.platform.data.shards import Record
from mosar.platform.data.stream import Arrays, Source

_PICTURE, _SHARD, _DISTINCT = 256, 128, 32
_RATIOS = {
    "stream_vs_webdataset": "webdataset",
    "read_webdataset_speedup": "read_webdataset",
    "read_webdataset_fused_speedup": "read_webdataset_fused",
}


@dataclass(frozen=True)
class Config:
    """Attributes:

    shards: number of shards of 128 samples, each with a JPEG of 256 x 256 and an array.
    batch: samples per batch.
    readers: processes of each loader.
    steps: batches per round.
    rounds: number of rounds.
    planned: samples of the synthetic data set for planning.
    """

    shards: int = 128
    batch: int = 32
    readers: int = 2
    steps: int = 1000
    rounds: int = 5
    planned: int = 100_000_000

    def __post_init__(self) -> None:
        if min(self.shards, self.batch, self.readers, self.rounds) < 1 or self.steps < 2 or self.planned < 1 << 20:
            raise ConfigError(
                f"got {self}; expected positive numbers, at least 2 steps and at least 1048576 planned samples"
            )


def run(config: Config) -> dict[str, Any]:
    """Return samples per second and ratios, peak memory, and seconds and MB of planning."""
    folder = Path(tempfile.mkdtemp(prefix="mosar-bench-"))
    try:
        data = str(folder / "data")
        make_data(data, config.shards)
        return _speed(config, data) | _memory(config, folder) | _planning(config, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_data(location: str, count: int) -> None:
    """Make ``count`` shards of smooth images with landmarks."""
    from PIL import Image

    rng = np.random.default_rng(0)
    members = []
    for _ in range(_DISTINCT):
        picture, array = io.BytesIO(), io.BytesIO()
        coarse = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
        coarse.resize((_PICTURE, _PICTURE), Image.Resampling.BICUBIC).save(picture, "JPEG", quality=92)
        np.save(array, rng.normal(size=(478, 3)).astype(np.float32))
        members.append({"image.jpg": picture.getvalue(), "landmarks.npy": array.getvalue()})

    def produce(shard: int) -> Iterator[Record]:
        for number in range(_SHARD):
            yield Record(f"s{shard}-{number}", "train", f"s{shard}", members[number % _DISTINCT])

    writer.write_dataset(location, list(range(count)), produce, recipe={}, schema_version=1, concurrency=0)


def decode(members: Mapping[str, bytes], seed: int) -> Arrays:
    """Return ``image`` (3 H W, uint8) and ``landmarks``; all loaders use this decoder."""
    import cv2

    cv2.setNumThreads(1)
    image = cv2.imdecode(np.frombuffer(members["image.jpg"], np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    landmarks = np.load(io.BytesIO(members["landmarks.npy"]), allow_pickle=False)
    return {"image": np.ascontiguousarray(image.transpose(2, 0, 1)), "landmarks": landmarks}


def source(data: str, batch: int) -> Source:
    return Source("data", data, manifest.open_manifest(data).digest, "train", batch, 0, decode)


def ours(config: Config, data: str) -> Iterator[int]:
    """Yield the size of each batch, as the other loaders do."""
    endless = range(1 << 20)  # Like webdataset's: the readers never run out of samples before the last batch.
    found = stream.batches([source(data, config.batch)], endless, [0], 1, readers=config.readers)
    for _, [batch] in itertools.islice(found, config.steps):
        yield len(batch["data"]["image"])


def webdataset_loader(config: Config, data: str) -> Iterator[int]:
    """Yield the size of each batch. Must run in a process without Ray's threads: the loader forks its workers."""
    import torch
    import webdataset

    def sample(found: dict[str, Any]) -> Arrays:
        return decode(found, 0)

    paths = [str(path) for path in sorted(Path(data).glob("*.tar"))]
    found = webdataset.WebDataset(paths, shardshuffle=False, nodesplitter=webdataset.split_by_node)
    pipeline = found.repeat().map(sample).map(lambda x: (x["image"], x["landmarks"])).batched(config.batch)
    loader = torch.utils.data.DataLoader(pipeline, batch_size=None, num_workers=config.readers)
    for image, _ in itertools.islice(loader, config.steps):
        yield len(image)


def read_webdataset(config: Config, data: str, batch_size: int | None) -> Iterator[int]:
    """Yield the size of each batch. ``batch_size``: samples decoded at once; None decodes whole blocks."""
    import ray

    def batch(found: dict[str, Any]) -> Arrays:
        pairs = zip(found["image.jpg"], found["landmarks.npy"], strict=True)
        samples = [decode({"image.jpg": image, "landmarks.npy": array}, 0) for image, array in pairs]
        return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}

    paths = [str(path) for path in sorted(Path(data).glob("*.tar"))]
    paths *= -(-2 * config.steps * config.batch // (len(paths) * _SHARD))  # Enough samples for all batches.
    before = ray.data.DataContext.get_current()
    context = before.copy()
    context.enable_progress_bars = False
    context.execution_options.resource_limits = ray.data.ExecutionResources(cpu=config.readers)
    ray.data.DataContext._set_current(context)
    try:
        decoded = ray.data.read_webdataset(paths, decoder=None).map_batches(batch, batch_size=batch_size)
    finally:
        ray.data.DataContext._set_current(before)
    for found in itertools.islice(decoded.iter_torch_batches(batch_size=config.batch), config.steps):
        yield len(found["image"])


def _speed(config: Config, data: str) -> dict[str, Any]:
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: _rate(ours(config, data)),
        "webdataset": lambda: float(_child("webdataset", data, config)["rate"]),
        "read_webdataset": lambda: _rate(read_webdataset(config, data, config.batch)),
        "read_webdataset_fused": lambda: _rate(read_webdataset(config, data, None)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    with cluster.connect():
        for turn in range(config.rounds + 1):
            for name in np.roll([*ways], -turn):
                rate = ways[name]()
                if turn:  # The first turn warms caches and processes.
                    rates[name].append(rate)
            print(f"round {turn}: " + ", ".join(f"{name} {r[-1]:.0f}/s" for name, r in rates.items() if r), flush=True)
    metrics: dict[str, Any] = {"rounds": config.rounds}
    for name, other in _RATIOS.items():
        ratio_n = np.divide(rates["ours"], rates[other])
        metrics |= {name: float(np.median(ratio_n)), f"{name}_range": [float(ratio_n.min()), float(ratio_n.max())]}
    return metrics | {f"samples_per_s_{name}": float(np.median(rate)) for name, rate in rates.items()}


def _rate(sizes: Iterable[int]) -> float:
    """Samples per second, without the first fifth of the batches."""
    times, counts = zip(*((time.perf_counter(), size) for size in sizes), strict=True)
    first = max(1, len(times) // 5)
    return sum(counts[first:]) / float(times[-1] - times[first - 1])


def _memory(config: Config, folder: Path) -> dict[str, Any]:
    """Peak memory of an epoch at both sizes; the smaller data set must exceed what the pipeline holds at once."""
    peaks = {}
    for name, count in (("once", config.shards), ("tenfold", 10 * config.shards)):
        data = str(folder / name)
        make_data(data, count)
        peaks[name] = _child("epoch", data, config, watched=True)["peak_mb"]
    return {"rss_growth_10x": peaks["tenfold"] / peaks["once"], "peak_mb_1x": peaks["once"]}


def _planning(config: Config, folder: Path) -> dict[str, Any]:
    small, large = str(folder / "small"), str(folder / "large")
    _synthetic(small, 1)
    _synthetic(large, config.planned)
    runs = [(_child("plan", small, config), _child("plan", large, config)) for _ in range(5)]
    return {
        "plan_100m_first_batch_s": float(np.median([large["seconds"] for _, large in runs])),
        "plan_100m_rss_mb": float(np.median([large["rss_mb"] - small["rss_mb"] for small, large in runs])),
        "planned_samples": manifest.open_manifest(large).samples,
    }


def _synthetic(location: str, samples: int) -> None:
    """Write a manifest of shards of 400 samples. All rows name one real shard, so that any sample can be read."""
    one = location + "-one"
    count = 400
    make_data(one, 1)
    first = manifest.open_manifest(one)
    picture = next(shards.read_samples(first.shard_location(0), first.extents(0, [0])))
    content, extents = shards.pack((Record(f"k{i}", "train", "s", picture) for i in range(count)), location)
    Path(location).mkdir()
    (Path(location) / "shard-000000.tar").write_bytes(content)
    row = manifest.ShardRow("shard-000000.tar", "train", count, len(content), "0" * 64)
    rows = [
        {"shard": row.name, "key": e.key, "offset": e.offset, "size": e.size, "crc32": e.crc32, "split": "train",
         "subject": "s", "flags": []} for e in extents
    ]  # fmt: skip
    period = pa.Table.from_pylist(rows, schema=manifest.SAMPLE_SCHEMA)
    whole = -(-samples // count)
    many = pa.concat_tables([period] * (1 << 11)).combine_chunks()  # exactly 25 row groups

    def tables() -> Iterator[pa.Table]:
        left = whole * count
        while left:
            yield many.slice(0, min(left, many.num_rows))
            left -= min(left, many.num_rows)

    manifest.write(location, [row] * whole, tables(), {"schema_version": 1})


def _child(what: str, data: str, config: Config, *, watched: bool = False) -> dict[str, Any]:
    """Run this module in its own process; ``watched`` measures its peak memory, which slows it down."""
    settings = json.dumps(dataclasses.asdict(config))
    command = [sys.executable, "-m", "mosar.jobs.benchmarks.stream", what, data, settings]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            peak[0] = max(peak[0], sum(map(_pss_mb, [process.pid, *cluster.processes_below(process.pid)])))

    thread = threading.Thread(target=watch, daemon=True)
    if watched:
        thread.start()
    out, _ = process.communicate()
    stop.set()
    if watched:
        thread.join()
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found | {"peak_mb": peak[0]}


def _pss_mb(pid: int) -> float:
    try:
        return psutil.Process(pid).memory_full_info().pss / 2**20
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0


def _peak_mb() -> float:
    """Peak memory of this process. getrusage would include the peak of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024


def _main(what: str, data: str, config: Config) -> None:
    found: dict[str, Any]
    if what == "plan":
        begun = time.perf_counter()
        whole = source(data, config.batch)
        middle = manifest.open_manifest(data).samples // config.batch // 2
        stream.read_steps([whole], range(middle, middle + 1), [0], 1)
        found = {"seconds": time.perf_counter() - begun, "rss_mb": _peak_mb()}
    elif what == "webdataset":
        found = {"rate": _rate(webdataset_loader(config, data))}
    else:
        steps = manifest.open_manifest(data).samples // config.batch
        with cluster.connect():
            found = {"samples": sum(ours(dataclasses.replace(config, steps=steps), data))}
    print(json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], Config(**json.loads(sys.argv[3])))
