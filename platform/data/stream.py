"""Streams: what each worker reads, step by step, through Ray Data.

A step's batch holds samples of several streams in fixed shares. Share ``b`` of a stream at step ``t`` are the places
``[t b, (t + 1) b)`` of its order. The batch is cut into ``slices`` and a worker takes
some of them: which samples, with which augmentation, does not depend on how many workers there are. So a position is a
step, and nothing else.
"""

import contextlib
import ctypes
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""Field that the platform adds to each stream: int64, the samples' rows in ``samples.parquet``; ``-1 - row`` where
another sample stands in for one that cannot be read."""

READER_CPUS = 0.25
"""Logical CPUs of a reading task."""

_STEPS_PER_TASK, _TASKS_PER_PIPELINE = 64, 256
_TASK_BYTES = 64 << 20
"""A task reads about so many bytes of shards: readers stand still for some 0.1 s between two, and those who read ahead
of their turn hold what long ones decode."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Of malloc.h."""

_REACH = 64
"""Places that are tried for a sample to stand in for those of a slice without any."""

_AHEAD_BYTES = 256 << 20
"""A reader may be about so far ahead of the training."""

_BLOCK_BYTES = 76 << 20
"""A task hands its batches on in blocks of about so many bytes: the driver's and the object store's work is by the
block, and with larger ones readers wait for room in what may be read ahead."""


@dataclass(frozen=True)
class Source:
    """One stream of a run: which data, how many samples a step, how they are decoded, what a damaged sample does.

    ``on_corrupt``, of samples that cannot be read or decoded: "stop" raises, with the names of shard and sample; "skip"
    lets the next readable sample of the same slice stand in, or of the places after it where the slice has none, so
    that every place of the order keeps its step.
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
    """Samples a step of each stream.

    Raises:
        ConfigError: the proportions do not add up to 1, or ``batch`` cannot be cut so that every slice is the same.
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
    """Slices ``mine`` of some steps: arrays named ``<stream>/<field>``, steps x slices first, then the sample axis.

    Raises:
        DataError: a shard that cannot be read, or samples that decode to different fields or shapes.
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
                    for name, value in values.items():  # Written in place: the only copy on this side.
                        found[f"{source.name}/{name}"] = np.empty((len(places), count, *value.shape), value.dtype)
                _put(found, source, place, number, values)
    return found


def batches(
    sources: Sequence[Source], steps: range, mine: Sequence[int], slices: int, *, readers: int = 1, prefetch: int = 2
) -> Iterator[tuple[int, list[dict[str, dict[str, "Tensor"]]]]]:
    """The steps' batches in order: (step, one batch for each slice number in ``mine``), read through Ray Data.

    Tensors are views of Ray's object store, which is read-only: they must not be changed in place.

    Args:
        readers: reading tasks at once for this worker, a quarter of a logical CPU each.
        prefetch: blocks of batches fetched ahead in this process.

    Raises:
        DataError: as :func:`read_steps`.
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
            del block  # Before the next one is made: it takes the same memory.
            first += count
            count = max(1, count * _BLOCK_BYTES // size)

    for first in range(steps.start, steps.stop, per_pipeline):
        segment = range(first, min(first + per_pipeline, steps.stop))
        rows = [{"first": s, "stop": min(s + per_task, segment.stop)} for s in segment[::per_task]]
        with ray_data_settings.settings(readers * _AHEAD_BYTES):
            plan = ray.data.from_items(rows, override_num_blocks=len(rows))
            pool = ray.data.TaskPoolStrategy(size=readers)
            reading = plan.map_batches(read, batch_size=1, num_cpus=READER_CPUS, compute=pool)
        blocks = reading.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=prefetch)
        slices_read = (one for block in blocks for one in _tensors(block))
        for step in segment:
            yield step, [next(slices_read) for _ in mine]


def local_batches(sources: Sequence[Source], steps: range) -> Iterator[dict[str, dict[str, "Tensor"]]]:
    """Whole batches read in this process; for short reads such as calibration and evaluation."""
    for step in steps:
        block = read_steps(sources, range(step, step + 1), [0], 1)
        yield from _tensors({name: value[None] for name, value in block.items()})


def _keep_memory() -> None:
    """For a reading task: the memory of a block is used again for the next one.

    By itself the C library gives that of more than 32 MB back to the kernel each time, which clears it anew: a tenth of
    the time of reading.
    """
    if hasattr(found := ctypes.CDLL(None), "mallopt"):  # glibc
        found.mallopt(_M_MMAP_MAX, 0)
        found.mallopt(_M_TRIM_THRESHOLD, 4 * _BLOCK_BYTES)


def _fetch(
    source: Source, starts: Sequence[int], count: int
) -> tuple[list[dict[str, bytes] | None], npt.NDArray[np.int64]]:
    """Members (or None) of ``count`` samples from each of these places on, and their rows; a shard is opened once."""
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
    """The samples of one slice, from place ``start`` on, and their rows; others stand in for what cannot be read."""
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
    """The next sample from place ``first`` on that can be read, for a slice that has none.

    Raises:
        DataError: there is none within reach.
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
    """Members of each sample of one shard; None for each that cannot be read, where those are skipped."""
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
    """One sample into its place.

    Raises:
        DataError: it has not the fields and shapes of the first one.
    """
    prefix = f"{source.name}/"
    for name in values.keys() ^ {name.removeprefix(prefix) for name in found if name.startswith(prefix)}:
        raise DataError(f"{source.location}: some samples have a field {name!r}, others have not")
    for name, value in values.items():
        target = found[prefix + name]
        if value.shape != target.shape[2:] or value.dtype != target.dtype:
            shapes = f"{target.shape[2:]} {target.dtype} and {value.shape} {value.dtype}"
            raise DataError(f"{source.location}: field {name!r} has different shapes in one batch: {shapes}")
        target[place, number] = value


def _tensors(block: Mapping[str, npt.NDArray[Any]]) -> Iterator[dict[str, dict[str, "Tensor"]]]:
    """``<stream>/<field>`` arrays with a leading axis of one, then of batches -> for each batch stream -> field ->
    tensor."""
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
