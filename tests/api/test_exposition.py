"""Metrics as text: the same as the library writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.registry import Collector

from daemon.api import exposition

if TYPE_CHECKING:
    from prometheus_client import Metric


class Collected(Collector):
    """Metrics that stay the same."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """Return the metrics."""
        return self._metrics


def test_metrics_are_written_as_the_library_writes_them() -> None:
    registry = CollectorRegistry()
    count = Counter("deliveries", 'A "count" with a \\ and\na line break', ["target", "outcome"], registry=registry)
    duration = Histogram("duration_seconds", "A histogram", ["target"], registry=registry)
    level = Gauge("level", "A gauge", ["at"], registry=registry)
    for number, name in enumerate(('"quoted"', "back\\slash", "line\nbreak", "ünï", "")):
        count.labels(name, "ok").inc(number * 1e9 + 0.5)
        duration.labels(name).observe(number)
    for value in (0.0, 1.0, -1.0, 1e-9, 123456789.0, float("inf"), float("-inf"), float("nan")):
        level.labels(str(value)).set(value)
    ProcessCollector(registry=registry)
    metrics = list(registry.collect())
    assert exposition.text(metrics).decode() == generate_latest(Collected(metrics)).decode()
