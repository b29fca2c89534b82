"""Apply a function with costly state to many items: actors of Ray Data, results in the order of the items."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from mosar.platform.data import ray_data_settings

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped_by_actors(
    items: Sequence[Item], start: Callable[[], Callable[[Item], Result]], concurrency: int
) -> Iterator[Result]:
    """Yield ``start()(item)`` of each item; each of ``concurrency`` actors calls ``start`` once.

    An actor holds one CPU. 0 means one by one without Ray; what ``start`` returns is then closed at the end, if it has
    a method ``close``. The processes of actors end with the pipeline.
    """
    if concurrency == 0 or not items:
        work = start()
        try:
            yield from map(work, items)
        finally:
            getattr(work, "close", lambda: None)()
        return
    import ray

    held = ray.put(list(items))

    class Actor:
        def __init__(self) -> None:
            self._work = start()

        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            results = [ray.cloudpickle.dumps(self._work(ray.get(held)[int(index)])) for index in batch["index"]]
            return {"result": results}

    with ray_data_settings.settings():
        rows = ray.data.from_items([{"index": i} for i in range(len(items))], override_num_blocks=len(items))
        pool = ray.data.ActorPoolStrategy(size=min(concurrency, len(items)), max_tasks_in_flight_per_actor=1)
        done = rows.map_batches(Actor, batch_size=1, num_cpus=1, compute=pool)
    for row in done.iter_rows():
        yield ray.cloudpickle.loads(row["result"])
