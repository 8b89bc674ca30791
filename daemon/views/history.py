"""Figures over time, for charts: attempts of targets, events and calls of connections."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.storage.history import HOUR, LEVELS, SLOT, slot_number
from daemon.storage.schema import LATENCIES, connection_history, target_history

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

CHART_HOURS = 24
PERIODS_KEPT = 20_000  # a day of hours of 800 targets


@dataclass(frozen=True, slots=True)
class TargetCounts:
    """A target's attempts in a period, and the most deliveries that were pending or dead at once.

    ``p50`` and ``p95`` are durations in milliseconds, None without attempts.
    """

    at: datetime
    attempts: int = 0
    failures: int = 0
    p50: float | None = None
    p95: float | None = None
    pending: int = 0
    dead: int = 0

    @property
    def succeeded(self) -> int:
        """Return the number of attempts that succeeded."""
        return self.attempts - self.failures

    @property
    def success(self) -> float | None:
        """Return the part of the attempts that succeeded."""
        return None if not self.attempts else 1 - self.failures / self.attempts


@dataclass(frozen=True, slots=True)
class ConnectionCounts:
    """A connection's events and calls in a period."""

    at: datetime
    events: int = 0
    calls: int = 0


def last_hour(tx: sa.Connection, targets: Collection[str], now: datetime) -> dict[str, TargetCounts]:
    """Return the attempts of the last hour of each of these targets that had some."""
    table = target_history
    recent = table.c.target.in_(list(targets)), table.c.at > now - HOUR - SLOT
    rows = tx.execute(sa.select(table.c.target, *_sums()).where(*recent).group_by(table.c.target)).all()
    return {target: _target_counts(now - HOUR, counts) for target, *counts in rows}


def of_target(tx: sa.Connection, target: str, now: datetime) -> list[TargetCounts]:
    """Return a target's attempts by the hour, the oldest first, without gaps."""
    return of_targets(tx, [target], now)[target]


def of_targets(tx: sa.Connection, targets: Collection[str], now: datetime) -> dict[str, list[TargetCounts]]:
    """Return the attempts of each target, or of ``ALL`` together, by the hour, the oldest first, without gaps."""
    hours, table = _hours(now), target_history
    hour = slot_number(tx, table.c.at, HOUR)
    recent = table.c.target.in_(list(targets)), table.c.at >= hours[0]
    query = sa.select(table.c.target, hour.label("hour"), *_sums()).where(*recent).group_by(table.c.target, hour)
    rows = {(target, int(number)): counts for target, number, *counts in tx.execute(query).all()}
    numbers = [(each, int(each.timestamp() // HOUR.total_seconds())) for each in hours]
    return {
        target: [
            _target_counts(start, rows[target, number]) if (target, number) in rows else TargetCounts(start)
            for start, number in numbers
        ]
        for target in targets
    }


def of_connections(
    tx: sa.Connection, connections: Collection[str], now: datetime, *, by_hour: bool = True
) -> list[ConnectionCounts]:
    """Return events and calls of these connections together by the hour, or by the slot for the last hour."""
    table = connection_history
    starts = _hours(now) if by_hour else _slots(now)
    chosen = sa.select(table).where(table.c.connection.in_(list(connections)), table.c.at >= starts[0])
    events, calls = dict.fromkeys(starts, 0), dict.fromkeys(starts, 0)
    for row in tx.execute(chosen).all():
        start = row.at.replace(minute=0, second=0, microsecond=0) if by_hour else row.at
        if start in events:
            events[start] += row.events
            calls[start] += row.calls
    return [ConnectionCounts(start, events[start], calls[start]) for start in starts]


def _sums() -> list[sa.Label[Any]]:
    """Return the figures of a period: pending, dead, attempts, failures, and those within each of ``LATENCIES``."""
    names = ("attempts", "failures", *(f"within_{bound}" for bound in LATENCIES))
    most = [sa.func.max(target_history.c[name]).label(name) for name in LEVELS]
    sums = (sa.cast(sa.func.sum(target_history.c[name]), sa.BigInteger).label(name) for name in names)  # no decimals
    return [*most, *sums]


def _target_counts(at: datetime, sums: Sequence[Any]) -> TargetCounts:
    pending, dead, attempts, failures, *within = sums
    p50, p95 = _percentiles(tuple(within), attempts)
    return TargetCounts(at, attempts, failures, p50, p95, pending, dead)


@functools.lru_cache(PERIODS_KEPT)
def _percentiles(within: tuple[int, ...], attempts: int) -> tuple[float | None, float | None]:
    """Return the median and the 95th percentile. Those of hours that have ended are computed once."""
    return percentile(0.5, within, attempts), percentile(0.95, within, attempts)


def percentile(part: float, within: Sequence[int], total: int) -> float | None:
    """Return the duration in milliseconds that ``part`` of the attempts did not exceed, by interpolation.

    ``within`` counts those that took no longer than each of ``LATENCIES``; beyond the last, that one is returned.
    """
    if not total:
        return None
    rank = part * total
    below, count_below = 0, 0
    for bound, count in zip(LATENCIES, within, strict=True):
        if count >= rank and count > count_below:
            return below + (bound - below) * (rank - count_below) / (count - count_below)
        below, count_below = bound, count
    return float(LATENCIES[-1])


def _hours(now: datetime) -> list[datetime]:
    last = now.replace(minute=0, second=0, microsecond=0)
    return [last - HOUR * number for number in range(CHART_HOURS - 1, -1, -1)]


def _slots(now: datetime) -> list[datetime]:
    minutes = int(SLOT.total_seconds() // 60)
    last = now.replace(minute=now.minute - now.minute % minutes, second=0, microsecond=0)
    return [last - SLOT * number for number in range(HOUR // SLOT - 1, -1, -1)]
