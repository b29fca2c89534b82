"""Apply a function to many items as a Ray Data pipeline, with results in the order of the items."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mosar.platform.data import ray_data_settings

Item = TypeVar("Item")
Result = TypeVar("Result")


def streamed(items: Sequence[Item], work: Callable[[Item], Result], concurrency: int) -> Iterator[Result]:
    """Yield ``work(item)`` of each item, ``concurrency`` at once on the cluster; 0 means one by one without Ray."""
    if concurrency == 0 or not items:
        yield from map(work, items)
        return
    import ray

    held = ray.put(list(items))

    def apply(batch: dict[str, Any]) -> dict[str, Any]:
        results = [ray.cloudpickle.dumps(work(ray.get(held)[int(index)])) for index in batch["index"]]
        return {"result": results}

    with ray_data_settings.settings():
        rows = ray.data.from_items([{"index": i} for i in range(len(items))], override_num_blocks=len(items))
        pool = ray.data.TaskPoolStrategy(size=min(concurrency, len(items)))  # Ray warns of more tasks than inputs
        done = rows.map_batches(apply, batch_size=1, num_cpus=1, compute=pool)
    for row in done.iter_rows():
        yield ray.cloudpickle.loads(row["result"])
