"""Prometheus' text format. The library's own writer takes most of the time of a scrape with hundreds of targets."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric
    from prometheus_client.samples import Sample

CREATED = "_created"  # of OpenMetrics; here a gauge of its own
KEPT = 20_000  # sets of labels, whose values are names of the configuration


def text(metrics: Iterable[Metric]) -> bytes:
    """Return gauges, counters and histograms as text."""
    lines: list[str] = []
    for metric in metrics:
        created = [each for each in metric.samples if each.name == metric.name + CREATED]
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        samples = metric.samples
        if created:
            samples = [each for each in metric.samples if each.name != metric.name + CREATED]
        lines += _family(name, metric.type, metric.documentation, samples)
        if created:
            lines += _family(metric.name + CREATED, "gauge", metric.documentation, created)
    return "".join(lines).encode()


def _family(name: str, kind: str, description: str, samples: Iterable[Sample]) -> list[str]:
    help_text = description.replace("\\", "\\\\").replace("\n", "\\n")
    head = f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"
    return [head, *(f"{each.name}{_labels(tuple(each.labels.items()))} {_number(each.value)}\n" for each in samples)]


@functools.lru_cache(KEPT)
def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


@functools.lru_cache(KEPT)
def _labels(pairs: tuple[tuple[str, str], ...]) -> str:
    written = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(pairs))
    return f"{{{written}}}" if written else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
