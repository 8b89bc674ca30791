"""The small charts of a target: its last 24 hours, by the hour."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from daemon.page import charts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.views.history import TargetCounts

KEPT = 1000  # targets whose charts are not drawn again until their figures change


class Sparklines(NamedTuple):
    """A target's charts. ``pending`` and ``dead`` are empty while there were none."""

    attempts: Markup
    success: Markup
    durations: Markup
    pending: Markup
    dead: Markup


def of_targets(hours: Mapping[str, Sequence[TargetCounts]]) -> dict[str, Sparklines]:
    """Return the charts of each target."""
    return {name: _draw(name, tuple(counts)) for name, counts in hours.items()}


@functools.lru_cache(KEPT)
def _draw(name: str, hours: tuple[TargetCounts, ...]) -> Sparklines:
    succeeded, failures = [each.succeeded for each in hours], [each.failures for each in hours]
    sums = f"{sum(succeeded) + sum(failures)}, failed: {sum(failures)}"
    return Sparklines(
        charts.spark(f"Attempts of {name} in the last 24 hours: {sums}", succeeded, failures),
        charts.spark_line(_label("Success rate", name), [each.success for each in hours], top=1),
        charts.spark_line(
            _label("Median and 95th percentile of the duration of attempts", name),
            [each.p50 for each in hours],
            [each.p95 for each in hours],
        ),
        _level("Pending", name, [each.pending for each in hours]),
        _level("Dead", name, [each.dead for each in hours]),
    )


def _level(kind: str, name: str, numbers: Sequence[int]) -> Markup:
    most = max(numbers, default=0)
    label = f"{_label(f'{kind} deliveries', name)}, at most {most:,}"
    return charts.spark(label, numbers, style="bad" if kind == "Dead" else "") if most else Markup("")


def _label(what: str, name: str) -> str:
    return f"{what} of {name} per hour in the last 24 hours"
