"""Streams: the samples that each worker reads at each step, through Ray Data.

A step's batch holds samples of several streams in fixed shares. A stream with share ``b`` contributes at step ``t`` the
places ``[t b, (t + 1) b)`` of its order. The batch is cut into ``slices``, and each worker takes some of them. Neither
the samples nor their augmentation depend on the number of workers. So the step alone is the position of all streams.
"""

import contextlib
import ctypes
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mosar.errors import ConfigError, DataError
from mosar.platform.data import ray_data_settings, shards
from mosar.platform.data.manifest import open_manifest
from mosar.platform.data.sampler import Sampler
from mosar.platform.data.shards import Extent
from mosar.platform.storage import digest

if TYPE_CHECKING:
    from torch import Tensor

Arrays = dict[str, npt.NDArray[Any]]
Decode = Callable[[Mapping[str, bytes], int], Arrays]
"""(members of a sample, seed of its augmentation) -> named arrays, of the same shapes for every sample."""

ROWS = "_rows"
"""Field that the platform adds to each stream: int64, the samples' rows in ``samples.parquet``; ``-1 - row`` if another
sample replaces an unreadable one."""

READER_CPUS = 0.25
"""Logical CPUs of a reading task."""

_STEPS_PER_TASK, _TASKS_PER_PIPELINE = 64, 256
_TASK_BYTES = 64 << 20
"""Approximate bytes of shards per task. Shorter tasks waste time: a reader idles some 0.1 s between two tasks. Longer
tasks need memory: a reader that is ahead of its turn holds everything that its task decodes."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of ``mallopt`` from malloc.h."""

_REACH = 64
"""Number of places searched for a replacement if a slice has no readable sample."""

_AHEAD_BYTES = 256 << 20
"""Approximate bytes that each reader may be ahead of the training."""

_BLOCK_BYTES = 76 << 20
"""Approximate size of the blocks in which a task passes its batches on. The driver and the object store do work per
block; with larger blocks readers wait for room within the read-ahead limit."""


@dataclass(frozen=True)
class Source:
    """One stream of a run: its data, samples per step (``share``), decoder, and policy for damaged samples.

    ``on_corrupt`` applies to samples that cannot be read or decoded. "stop" raises an error with the names of shard and
    sample. "skip" uses the next readable sample of the same slice, or of the places after the slice if it has none, so
    that every other sample keeps its step.
    """

    name: str
    location: str
    digest: str
    split: str
    share: int
    seed: int
    decode: Decode
    on_corrupt: Literal["stop", "skip"] = "stop"


def shares(proportions: Mapping[str, float], batch: int, slices: int) -> dict[str, int]:
    """Number of samples per step of each stream.

    Raises:
        ConfigError: the proportions do not add up to 1, or ``batch`` cannot be cut into equal slices.
    """
    if abs(sum(proportions.values()) - 1) > 1e-6:
        raise ConfigError(f"streams: the proportions {dict(proportions)} add up to {sum(proportions.values())}, not 1")
    found = {name: round(batch * proportion) for name, proportion in proportions.items()}
    for name, proportion in proportions.items():
        if abs(found[name] - batch * proportion) > 1e-6 or found[name] % slices or not found[name]:
            raise ConfigError(
                f"batch: {batch} x {proportion} of stream {name!r} are {batch * proportion:g} samples a step, which "
                f"cannot be cut into {slices} equal slice(s); choose another batch or number of workers"
            )
    return found


def read_steps(sources: Sequence[Source], steps: range, mine: Sequence[int], slices: int) -> Arrays:
    """Read slices ``mine`` of ``steps`` into arrays ``<stream>/<field>`` of shape (steps x slices, samples, ...).

    Raises:
        DataError: a shard cannot be read, or samples decode to different fields or shapes.
    """
    found: Arrays = {}
    places = [(step, slice_) for step in steps for slice_ in mine]
    for source in sources:
        count = source.share // slices
        starts = [step * source.share + slice_ * count for step, slice_ in places]
        members, all_rows = _fetch(source, starts, count)
        for place, start in enumerate(starts):
            part = slice(place * count, (place + 1) * count)
            samples, rows = _decode(source, start, members[part], all_rows[part])
            for number, sample in enumerate(samples):
                values = {**sample, ROWS: rows[number]}
                if not place + number:
                    for name, value in values.items():  # The only copy in this process.
                        found[f"{source.name}/{name}"] = np.empty((len(places), count, *value.shape), value.dtype)
                _put(found, source, place, number, values)
    return found


def batches(
    sources: Sequence[Source], steps: range, mine: Sequence[int], slices: int, *, readers: int = 1, prefetch: int = 2
) -> Iterator[tuple[int, list[dict[str, dict[str, "Tensor"]]]]]:
    """Read ``steps`` in order through Ray Data. Yields (step, one batch for each slice number in ``mine``).

    Tensors are views of Ray's object store, which is read-only: they must not be changed in place.

    Args:
        readers: concurrent reading tasks of this worker, a quarter of a logical CPU each.
        prefetch: blocks of batches fetched ahead in this process.

    Raises:
        DataError: see :func:`read_steps`.
    """
    import ray

    whole = sum(source.share * open_manifest(source.location, source.digest).sample_bytes for source in sources)
    per_task = max(1, min(_STEPS_PER_TASK, int(_TASK_BYTES * slices / (whole * len(mine)))))
    per_pipeline = per_task * _TASKS_PER_PIPELINE
    shared = ray.put((list(sources), list(mine), slices))

    def read(row: dict[str, npt.NDArray[np.int64]]) -> Iterator[Arrays]:
        sources, mine, slices = ray.get(shared)
        _keep_memory()
        first, stop, count = int(row["first"][0]), int(row["stop"][0]), 1
        while first < stop:
            block = read_steps(sources, range(first, min(first + count, stop)), mine, slices)
            size = sum(value.nbytes for value in block.values())
            yield {name: value[None] for name, value in block.items()}
            del block  # Free the block first: the next one reuses its memory.
            first += count
            count = max(1, count * _BLOCK_BYTES // size)

    def plan(segment: range) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        rows = [{"first": s, "stop": min(s + per_task, segment.stop)} for s in segment[::per_task]]
        with ray_data_settings.settings(readers * _AHEAD_BYTES):
            built = ray.data.from_items(rows, override_num_blocks=len(rows))
            pool = ray.data.TaskPoolStrategy(size=min(readers, len(rows)))  # Ray warns of more tasks than inputs
            reading = built.map_batches(read, batch_size=1, num_cpus=READER_CPUS, compute=pool)
        return iter(reading.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=prefetch))

    segments = [steps[first : first + per_pipeline] for first in range(0, len(steps), per_pipeline)]
    with ThreadPoolExecutor(1) as aside:
        begun = None
        for segment, following in zip(segments, [*segments[1:], None], strict=True):
            blocks, begun = begun.result() if begun else plan(segment), None
            slices_read = (one for block in blocks for one in _tensors(block))
            for step in segment:
                yield step, [next(slices_read) for _ in mine]
                if following and step == segment[::per_task][-1]:  # only the plan's last task is left
                    begun = aside.submit(_begin, plan(following))


def _begin(blocks: Iterator[Mapping[str, npt.NDArray[Any]]]) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """The same blocks, of which the first is there: a plan takes a while until it reads."""
    return itertools.chain([next(blocks)], blocks)


def _keep_memory() -> None:
    """Let a reading task reuse the memory of a block for the next block.

    By default the C library returns allocations of more than 32 MB to the kernel, which clears them each time. Measured
    in eight alternating pairs of processes with blocks of 62 MB: without this, reading and decoding took 1.19 times the
    processor time (median), of which the kernel had 0.47 s instead of 0.05 s. Ray may use the process for other tasks
    afterwards; they only keep up to four blocks of freed memory.
    """
    if hasattr(found := ctypes.CDLL(None), "mallopt"):  # glibc
        found.mallopt(_M_MMAP_MAX, 0)
        found.mallopt(_M_TRIM_THRESHOLD, 4 * _BLOCK_BYTES)


def _fetch(
    source: Source, starts: Sequence[int], count: int
) -> tuple[list[dict[str, bytes] | None], npt.NDArray[np.int64]]:
    """Members (or None) and rows of ``count`` samples from each place in ``starts`` on. Opens each shard once."""
    manifest = open_manifest(source.location, source.digest)
    split, order = _order(source.location, source.digest, source.split, source.seed)
    parts = [order.places(start, start + count) for start in starts]
    shard, index = (np.concatenate(part) for part in zip(*parts, strict=True))
    members: list[dict[str, bytes] | None] = [None] * len(shard)
    for number in np.unique(shard):
        row = int(split[number])
        place = np.flatnonzero(shard == number)
        place = place[np.argsort(index[place])]
        extents = manifest.extents(row, index[place].tolist())
        for at, found in zip(place, _members(manifest.shard_location(row), extents, source.on_corrupt), strict=True):
            members[at] = found
    rows = np.array([manifest.row(int(split[s]), int(i)) for s, i in zip(shard, index, strict=True)], np.int64)
    return members, rows


def _decode(
    source: Source, start: int, members: Sequence[Mapping[str, bytes] | None], rows: npt.NDArray[np.int64]
) -> tuple[list[Arrays], npt.NDArray[np.int64]]:
    """Samples and rows of one slice, which begins at place ``start``; unreadable samples are replaced."""
    samples: list[Arrays | None] = []
    for offset, found in enumerate(members):
        sample = None
        if found is not None:
            try:
                sample = source.decode(found, digest.seed("sample", source.name, source.seed, start + offset))
            except DataError as error:
                if source.on_corrupt == "stop":
                    name = open_manifest(source.location, source.digest).sample_name(int(rows[offset]))
                    raise DataError(f"{name}: {error}") from error
        samples.append(sample)
    readable = [sample for sample in samples if sample is not None]
    if not readable:
        readable = [_substitute(source, start + len(samples))]
    for number, sample in reversed([*enumerate(samples)]):
        if sample is None:
            rows[number] = -1 - rows[number]
            samples[number] = (samples[number + 1 :] or readable)[0]
    return [sample for sample in samples if sample is not None], rows


def _substitute(source: Source, first: int) -> Arrays:
    """The first readable sample from place ``first`` on, for a slice without a readable sample.

    Raises:
        DataError: none of the next ``_REACH`` samples can be read.
    """
    for place in range(first, first + _REACH):
        (found,), _ = _fetch(source, [place], 1)
        if found is not None:
            with contextlib.suppress(DataError):
                return source.decode(found, digest.seed("sample", source.name, source.seed, place))
    raise DataError(f"{source.location}: none of {_REACH} samples from place {first} on can be read")


def _members(
    location: str, extents: Sequence[Extent], on_corrupt: Literal["stop", "skip"]
) -> list[dict[str, bytes] | None]:
    """Members of each sample of one shard; None for an unreadable sample if those are skipped."""
    try:
        return list(shards.read_samples(location, extents))
    except DataError:
        if on_corrupt == "stop":
            raise
    found: list[dict[str, bytes] | None] = []
    for extent in extents:
        try:
            found += shards.read_samples(location, [extent])
        except DataError:
            found.append(None)
    return found


@lru_cache(maxsize=16)
def _order(location: str, expected_digest: str, split: str, seed: int) -> tuple[npt.NDArray[np.int64], Sampler]:
    found = open_manifest(location, expected_digest).split(split)
    return found.shard_n, Sampler(found.samples_n, seed)


def _put(found: Arrays, source: Source, place: int, number: int, values: Arrays) -> None:
    """Write one sample into its place in the batch.

    Raises:
        DataError: its fields or shapes differ from the first sample's.
    """
    prefix = f"{source.name}/"
    for name in values.keys() ^ {name.removeprefix(prefix) for name in found if name.startswith(prefix)}:
        raise DataError(f"{source.location}: some samples have a field {name!r}, others do not")
    for name, value in values.items():
        target = found[prefix + name]
        if value.shape != target.shape[2:] or value.dtype != target.dtype:
            shapes = f"{target.shape[2:]} {target.dtype} and {value.shape} {value.dtype}"
            raise DataError(f"{source.location}: field {name!r} has different shapes in one batch: {shapes}")
        target[place, number] = value


def _tensors(block: Mapping[str, npt.NDArray[Any]]) -> Iterator[dict[str, dict[str, "Tensor"]]]:
    """Yield each batch (stream -> field -> tensor) of ``<stream>/<field>`` arrays of shape (1, batches, ...)."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        tensors = {name: torch.from_numpy(value[0]) for name, value in block.items()}
    for number in range(len(next(iter(tensors.values())))):
        found: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            stream, _, field = name.partition("/")
            found.setdefault(stream, {})[field] = tensor[number]
        yield found
