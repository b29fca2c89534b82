"""Write a data set as a Ray Data pipeline with one task per shard; finished shards are not made again."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from mosar.errors import ConfigError, DataError
from mosar.platform import storage
from mosar.platform.data import manifest, ray_data_settings, shards
from mosar.platform.data.shards import Record
from mosar.platform.storage import config_diff, digest

Task = TypeVar("Task")
Progress = Callable[[int, int], None]
"""Called with (number of finished shards, number of all shards)."""

_RECIPE, _INPUTS, _PARTS = "recipe.json", "inputs.json", "parts"
_NAMED = 5
"""Changed inputs that an error names."""
_NONE: Mapping[str, str] = {}


def write_dataset(
    location: str,
    tasks: Sequence[Task],
    produce: Callable[[Task], Iterable[Record]],
    *,
    recipe: Mapping[str, Any],
    schema_version: int,
    concurrency: int | None = 1,
    on_progress: Progress | None = None,
) -> manifest.Manifest:
    """Write a data set with one shard per task, and return its manifest.

    Args:
        location: folder of the data set, such as ``storage.join(storage.root(), "data", name)``.
        tasks: the arguments of ``produce``, in order.
        produce: returns a task's records, all of one split; depends on the task alone. No records make no shard.
        recipe: JSON-ready; everything that decides the content. The same recipe continues an unfinished data set. See
            :func:`begin`.
        schema_version: version of the schema of the samples.
        concurrency: number of shards made at once, as Ray tasks; 0 makes them here, one by one, without Ray;
            None leaves it to Ray Data and the cluster.
        on_progress: called at the start and whenever a shard is finished.

    Raises:
        ConfigError: the folder was begun with another recipe; the message shows the differences.
        DataError: a sample's key occurs in two shards, or there are no samples.
    """
    begin(location, recipe, schema_version)
    if not storage.exists(storage.join(location, manifest.SHARDS)):
        done = set(storage.names(storage.join(location, _PARTS)))
        todo = [index for index in range(len(tasks)) if _part_name(index) not in done]
        finished = len(tasks) - len(todo)
        if on_progress:
            on_progress(finished, len(tasks))
        for _ in _make(location, tasks, todo, produce, concurrency):
            finished += 1
            if on_progress:
                on_progress(finished, len(tasks))
        _finish(location, len(tasks), {"recipe": dict(recipe), "schema_version": schema_version})
    return manifest.Manifest(location)


def _make(
    location: str,
    tasks: Sequence[Task],
    todo: Sequence[int],
    produce: Callable[[Task], Iterable[Record]],
    concurrency: int | None,
) -> Iterator[int]:
    """Make the shards in ``todo``. Yields the number of each shard when it is finished."""
    if concurrency == 0 or not todo:
        for index in todo:
            _make_shard(location, index, produce(tasks[index]))
            yield index
        return
    import ray

    tasks_ref = ray.put(list(tasks))

    def make(batch: dict[str, Any]) -> dict[str, Any]:
        for index in batch["index"]:
            _make_shard(location, int(index), produce(ray.get(tasks_ref)[int(index)]))
        return batch

    with ray_data_settings.settings():
        rows = ray.data.from_items([{"index": index} for index in todo], override_num_blocks=len(todo))
        most = len(todo) if concurrency is None else min(concurrency, len(todo))  # Ray warns of more tasks than inputs
        pool = ray.data.TaskPoolStrategy(size=most)
        made = rows.map_batches(make, batch_size=1, num_cpus=1, compute=pool)
    for row in made.iter_rows():
        yield int(row["index"])


def _make_shard(location: str, index: int, records: Iterable[Record]) -> None:
    """Write one shard, then its part of the manifest, which marks it as finished."""
    records = list(records)
    name = f"shard-{index:06d}.tar"
    where = storage.join(location, name)
    splits = sorted({record.split for record in records})
    if len(splits) > 1:
        raise ValueError(f"{where}: got the splits {', '.join(splits)}, expected one split per shard")
    part: dict[str, Any] = {"shard": None, "samples": []}
    if records:
        content, extents = shards.pack(records, where)
        storage.write_bytes(where, content)
        row = manifest.ShardRow(name, splits[0], len(records), len(content), digest.of_bytes(content))
        part["shard"] = dataclasses.asdict(row)
        part["samples"] = [
            {"shard": name, **dataclasses.asdict(e), "split": r.split, "subject": r.subject, "flags": list(r.flags)}
            for r, e in zip(records, extents, strict=True)
        ]
    storage.write_json(storage.join(location, _PARTS, _part_name(index)), part)


def _finish(location: str, count: int, about: Mapping[str, Any]) -> None:
    """Join the parts into the manifest and remove them."""
    rows: list[manifest.ShardRow] = []
    tables: list[pa.Table] = []
    for index in range(count):
        part = storage.read_json(storage.join(location, _PARTS, _part_name(index)))
        if part["shard"] is not None:
            rows.append(manifest.ShardRow(**part["shard"]))
            tables.append(pa.Table.from_pylist(part["samples"], schema=manifest.SAMPLE_SCHEMA))
    if not rows:
        raise DataError(f"{location}: the tasks gave no samples")
    samples = pa.concat_tables(tables)
    keys = samples["key"].value_counts().to_pylist()
    if len(keys) < samples.num_rows:
        twice = next(entry["values"] for entry in keys if entry["counts"] > 1)
        raise DataError(f"{location}: key {twice!r} occurs in two shards")
    manifest.write(location, rows, [samples.combine_chunks()], about)
    storage.remove(storage.join(location, _PARTS))


def begin(location: str, recipe: Mapping[str, Any], schema_version: int, inputs: Mapping[str, str] = _NONE) -> None:
    """Note the recipe of a data set in its folder, or compare it with the one that it was begun with.

    ``inputs``: name of each input (a file, a capture, a folder) -> its fingerprint, compared too if given. They are
    noted beside the recipe, not in it: the manifest must not depend on the time at which a file was copied.

    Raises:
        ConfigError: the folder was begun with another recipe or other inputs; the message shows the differences.
    """
    now = {"recipe": dict(recipe), "schema_version": schema_version}
    where, beside = storage.join(location, _RECIPE), storage.join(location, _INPUTS)
    if not storage.exists(where):
        if inputs:
            storage.write_json(beside, dict(inputs))
        storage.write_json(where, now)
        return
    found = config_diff.differences(storage.read_json(where), json.loads(json.dumps(now)))
    changes = [f"{key}: {change}" for key, change in found]
    if inputs:
        changes += _changed(storage.read_json(beside) if storage.exists(beside) else {}, inputs)
    if changes:
        raise ConfigError(
            f"{location}: begun with another recipe ({'; '.join(changes)}); choose another name or remove the folder"
        )


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Inputs that were added, removed or changed, the first few by name."""
    kinds = {
        "added": sorted(now.keys() - before.keys()),
        "removed": sorted(before.keys() - now.keys()),
        "changed": sorted(name for name in now.keys() & before.keys() if now[name] != before[name]),
    }
    return [
        f"{kind}: {', '.join(names[:_NAMED])}" + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        for kind, names in kinds.items()
        if names
    ]


def _part_name(index: int) -> str:
    return f"{index:06d}.json"
