"""All metrics, under the same names inside Ray (exported by Ray's agents) and outside (by prometheus_client).

Ray prefixes every name with ``ray_``; outside Ray this module adds the same prefix.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Metric:
    """A named measurement, registered on first use. Each value comes with ``labels``."""

    name: str
    about: str
    labels: tuple[str, ...] = ()


class Counter(Metric):
    """A count that only grows."""

    def add(self, amount: float = 1.0, **labels: str) -> None:
        _registered(self).add(amount, labels)


class Gauge(Metric):
    """A current value."""

    def set(self, value: float, **labels: str) -> None:
        _registered(self).set(value, labels)


class Histogram(Metric):
    """A distribution of durations in seconds."""

    def observe(self, value: float, **labels: str) -> None:
        _registered(self).observe(value, labels)


STEP = Gauge("mosar_train_step", "Steps done: the position of the streams", ("run",))
LOSS = Gauge("mosar_train_loss", "Sum of the weighted losses", ("run",))
SAMPLES_PER_SECOND = Gauge("mosar_train_samples_per_second", "Samples per second over all workers", ("run",))
WAIT_SHARE = Gauge("mosar_train_wait_share", "Share of the time spent waiting for data", ("run",))
SKIPPED = Gauge("mosar_train_skipped_samples", "Samples of the run that could not be read", ("run",))
CHECKPOINT_SECONDS = Histogram("mosar_train_checkpoint_seconds", "Seconds to write a checkpoint")
REQUESTS = Counter("mosar_serve_requests", "Requests answered, by HTTP status", ("status",))
ANSWER_SECONDS = Histogram("mosar_serve_seconds", "Seconds of a successful request, including the wait for the replica")
ALL = (
    STEP,
    LOSS,
    SAMPLES_PER_SECOND,
    WAIT_SHARE,
    SKIPPED,
    CHECKPOINT_SECONDS,
    REQUESTS,
    ANSWER_SECONDS,
)


class _Ray:
    def __init__(self, metric: Metric) -> None:
        import ray.util.metrics

        options: dict[str, Any] = {"boundaries": list(_SECONDS)} if isinstance(metric, Histogram) else {}
        kind = getattr(ray.util.metrics, type(metric).__name__)
        self._metric = kind(metric.name, description=metric.about, tag_keys=metric.labels, **options)

    def add(self, amount: float, labels: dict[str, str]) -> None:
        self._metric.inc(amount, tags=labels)

    def set(self, value: float, labels: dict[str, str]) -> None:
        self._metric.set(value, tags=labels)

    def observe(self, value: float, labels: dict[str, str]) -> None:
        self._metric.observe(value, tags=labels)


class _Prometheus:
    def __init__(self, metric: Metric) -> None:
        import prometheus_client

        options: dict[str, Any] = {"buckets": _SECONDS} if isinstance(metric, Histogram) else {}
        kind = getattr(prometheus_client, type(metric).__name__)
        self._metric: Any = kind(f"ray_{metric.name}", metric.about, metric.labels, **options)

    def _of(self, labels: dict[str, str]) -> Any:
        return self._metric.labels(**labels) if labels else self._metric

    def add(self, amount: float, labels: dict[str, str]) -> None:
        self._of(labels).inc(amount)

    def set(self, value: float, labels: dict[str, str]) -> None:
        self._of(labels).set(value)

    def observe(self, value: float, labels: dict[str, str]) -> None:
        self._of(labels).observe(value)


@cache
def _registered(metric: Metric) -> Any:
    import sys

    inside_ray = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    return (_Ray if inside_ray else _Prometheus)(metric)
