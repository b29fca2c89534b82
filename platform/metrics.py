"""Metrics under the same names everywhere: through Ray inside Ray (its agents are scraped), prometheus_client outside.

Ray puts ``ray_`` before every name; so do we outside.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Counter(Protocol):
    """Only grows."""

    def add(self, amount: float = 1.0, **labels: str) -> None: ...


class Gauge(Protocol):
    """A value as it is now."""

    def set(self, value: float, **labels: str) -> None: ...


class Histogram(Protocol):
    """How values are spread."""

    def observe(self, value: float, **labels: str) -> None: ...


def counter(name: str, about: str, labels: Sequence[str] = ()) -> Counter:
    """The counter of this name; made on first use."""
    return _make("Counter", name, about, tuple(labels))


def gauge(name: str, about: str, labels: Sequence[str] = ()) -> Gauge:
    """The gauge of this name; made on first use."""
    return _make("Gauge", name, about, tuple(labels))


def histogram(name: str, about: str, labels: Sequence[str] = ()) -> Histogram:
    """The histogram of this name, over seconds; made on first use."""
    return _make("Histogram", name, about, tuple(labels))


class _Ray:
    def __init__(self, kind: str, name: str, about: str, labels: tuple[str, ...]) -> None:
        import ray.util.metrics

        options: dict[str, Any] = {"boundaries": list(_SECONDS)} if kind == "Histogram" else {}
        self._metric = getattr(ray.util.metrics, kind)(name, description=about, tag_keys=labels, **options)

    def add(self, amount: float = 1.0, **labels: str) -> None:
        self._metric.inc(amount, tags=labels)

    def set(self, value: float, **labels: str) -> None:
        self._metric.set(value, tags=labels)

    def observe(self, value: float, **labels: str) -> None:
        self._metric.observe(value, tags=labels)


class _Prometheus:
    def __init__(self, kind: str, name: str, about: str, labels: tuple[str, ...]) -> None:
        import prometheus_client

        options: dict[str, Any] = {"buckets": _SECONDS} if kind == "Histogram" else {}
        self._metric: Any = getattr(prometheus_client, kind)(f"ray_{name}", about, labels, **options)

    def _of(self, labels: dict[str, str]) -> Any:
        return self._metric.labels(**labels) if labels else self._metric

    def add(self, amount: float = 1.0, **labels: str) -> None:
        self._of(labels).inc(amount)

    def set(self, value: float, **labels: str) -> None:
        self._of(labels).set(value)

    def observe(self, value: float, **labels: str) -> None:
        self._of(labels).observe(value)


@cache
def _make(kind: str, name: str, about: str, labels: tuple[str, ...]) -> Any:
    import sys

    inside_ray = "ray" in sys.modules and sys.modules["ray"].is_initialized()
    return (_Ray if inside_ray else _Prometheus)(kind, name, about, labels)
