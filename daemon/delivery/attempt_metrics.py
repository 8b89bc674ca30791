"""The metrics of attempts, counted in plain numbers: the library's counters would cost more than recording a result."""

from __future__ import annotations

import functools
import itertools
from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

LATENCIES = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60)
BOUNDS = (*map(str, map(float, LATENCIES)), "+Inf")


class TargetMetrics:
    """The counts of one target, which only the event loop changes."""

    __slots__ = ("buckets", "outcomes", "seconds")

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.buckets = [0] * len(BOUNDS)  # not cumulative
        self.seconds = 0.0

    def count(self, outcome: str) -> None:
        """Count an attempt."""
        self.outcomes[outcome] += 1

    def observe(self, seconds: float) -> None:
        """Count the duration of an attempt."""
        self.buckets[bisect_left(LATENCIES, seconds)] += 1
        self.seconds += seconds


class AttemptMetrics(Collector):
    """The counts of all targets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._targets: dict[str, TargetMetrics] = {}
        registry.register(self)

    def of_target(self, name: str) -> TargetMetrics:
        """Return the counts of a target."""
        return self._targets.setdefault(name, TargetMetrics())

    def collect(self) -> Iterator[Metric]:
        """Return what Prometheus reads."""
        attempts = CounterMetricFamily("pagerelay_attempts", "Attempts to deliver", labels=("target", "outcome"))
        durations = HistogramMetricFamily("pagerelay_attempt_seconds", "Duration of attempts", labels=("target",))
        for name, target in list(self._targets.items()):
            for outcome, number in list(target.outcomes.items()):
                attempts.add_metric((name, outcome), number)
            cumulative = itertools.accumulate(target.buckets)
            durations.add_metric((name,), list(zip(BOUNDS, cumulative, strict=True)), target.seconds)
        yield attempts
        yield durations


@functools.cache
def attempt_metrics(registry: CollectorRegistry) -> AttemptMetrics:
    """Return the metrics of a registry, which outlive a reload."""
    return AttemptMetrics(registry)
