"""Prometheus metrics: gauges read from the database, and the counters and resources of this process.

Labels are names of the configuration, so their number is limited by it. Only the types of unknown log entries come
from outside; the storage limits their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon.api import exposition
from daemon.model import ActionState
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from prometheus_client import Metric

    from daemon.views.connection_health import ConnectionStatus
    from daemon.views.overview import Instance, Overview
    from daemon.views.target_health import TargetStatus
    from daemon.views.trigger_health import TriggerStatus


def text(status: Overview | None, counted: CollectorRegistry | None) -> bytes:
    """Return all metrics in Prometheus' text format, or only those of the process if there is no status."""
    registry = CollectorRegistry()
    if status is not None:
        registry.register(_Gauges(status))
    ProcessCollector(registry=registry)
    return exposition.text(registry.collect()) + (b"" if counted is None else exposition.text(counted.collect()))


class _Gauges(Collector):
    """A collector that shows a status as metrics."""

    def __init__(self, status: Overview) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        status = self._status
        info = GaugeMetricFamily("pagerelay_info", "Version and kind of database", labels=("version", "database"))
        info.add_metric((status.version, status.database), 1)
        yield info
        yield GaugeMetricFamily("pagerelay_instances", "Running daemons", len(status.instances))
        yield GaugeMetricFamily("pagerelay_journal_events", "Events in the journal", status.journal.events)
        yield _of_clocks(status.instances)
        yield from _of_connections(status.connections)
        yield from _unknown_log_entries(status.connections)
        yield from _of_actions(status.connections, status.now)
        yield from _of_triggers(status.triggers)
        yield from _of_targets(status.targets, status.now)


def _of_clocks(daemons: Iterable[Instance]) -> Metric:
    return _gauge(
        "clock_ahead_seconds",
        "How far a daemon's clock is ahead of PagerDuty's; negative: behind",
        "host",
        {one.hostname: one.clock_ahead_seconds for one in daemons}.items(),
    )


def _of_connections(connections: Iterable[ConnectionStatus]) -> Iterator[Metric]:
    each = list(connections)
    yield _gauge(
        "connection_last_success_timestamp_seconds",
        "Time of the last successful poll",
        "connection",
        ((one.name, _seconds(one.last_success_at)) for one in each),
    )
    yield _gauge(
        "connection_lag_seconds",
        "Age of the connection's watermark",
        "connection",
        ((one.name, one.lag) for one in each),
    )
    yield _gauge(
        "connection_failing",
        "1 while polls fail",
        "connection",
        ((one.name, one.failing_since is not None) for one in each),
    )
    yield _gauge(
        "connection_budget_used",
        "Calls in the current period",
        "connection",
        ((one.name, one.budget.used) for one in each),
    )
    yield _gauge(
        "connection_budget_limit",
        "Maximum number of calls per period",
        "connection",
        ((one.name, one.budget.calls) for one in each),
    )
    yield _gauge(
        "connection_open_incidents",
        "Known open incidents",
        "connection",
        ((one.name, one.open_incidents) for one in each),
    )
    yield _gauge(
        "connection_quarantined_records",
        "Records in quarantine",
        "connection",
        ((one.name, one.quarantined) for one in each),
    )


def _unknown_log_entries(connections: Iterable[ConnectionStatus]) -> Iterator[Metric]:
    labels = ("connection", "type")
    number = CounterMetricFamily(
        "pagerelay_connection_unknown_log_entries",
        "Log entries of types that this version does not know",
        labels=labels,
    )
    newest = GaugeMetricFamily(
        "pagerelay_connection_unknown_log_entry_timestamp_seconds",
        "Time when the last log entry of an unknown type was read",
        labels=labels,
    )
    for connection in connections:
        for each in connection.unknown_entry_types:
            number.add_metric((connection.name, each.type), each.entries)
            newest.add_metric((connection.name, each.type), each.last_seen_at.timestamp())
    yield number
    yield newest


def _of_actions(connections: Iterable[ConnectionStatus], now: datetime) -> Iterator[Metric]:
    labels = ("connection", "state")
    unfinished = GaugeMetricFamily("pagerelay_actions_unfinished", "Queued and running actions", labels=labels)
    oldest = GaugeMetricFamily(
        "pagerelay_actions_oldest_seconds",
        "Age of the oldest queued or running action; 0 if there is none",
        labels=labels,
    )
    for one in connections:
        queue = one.actions
        for state, number, since in (
            (ActionState.QUEUED, queue.queued, queue.oldest_queued_at),
            (ActionState.RUNNING, queue.running, queue.oldest_running_at),
        ):
            unfinished.add_metric((one.name, state.value), number)
            oldest.add_metric((one.name, state.value), (now - since).total_seconds() if since else 0)
    yield unfinished
    yield oldest


def _of_triggers(triggers: Iterable[TriggerStatus]) -> Iterator[Metric]:
    each = list(triggers)
    yield _gauge(
        "trigger_events_behind",
        "Events in the journal that the trigger has not processed",
        "trigger",
        ((one.name, one.behind) for one in each),
    )
    yield _gauge(
        "trigger_last_event_timestamp_seconds",
        "Time of the last event that the trigger sent",
        "trigger",
        ((one.name, _seconds(one.last_event_at)) for one in each),
    )


def _of_targets(targets: Iterable[TargetStatus], now: datetime) -> Iterator[Metric]:
    each = list(targets)
    family = GaugeMetricFamily("pagerelay_deliveries", "Pending and dead deliveries", labels=("target", "state"))
    for one in each:
        family.add_metric((one.name, "pending"), one.pending)
        family.add_metric((one.name, "dead"), one.dead)
    yield family
    yield _gauge(
        "target_oldest_pending_seconds",
        "Age of the oldest pending delivery",
        "target",
        ((one.name, (now - one.oldest_pending_at).total_seconds() if one.oldest_pending_at else 0) for one in each),
    )
    yield _gauge(
        "target_failing",
        "1 while attempts fail, or every message is rejected",
        "target",
        ((one.name, one.health is Health.FAILING) for one in each),
    )
    yield _gauge("target_paused", "1 while paused", "target", ((one.name, one.paused) for one in each))


def _gauge(name: str, help_text: str, label: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    """Return a gauge with one label, without entries that have no value yet."""
    family = GaugeMetricFamily(f"pagerelay_{name}", help_text, labels=(label,))
    for key, value in values:
        if value is not None:
            family.add_metric((key,), float(value))
    return family


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
