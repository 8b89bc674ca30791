"""Prometheus metrics: gauges of what the database says at this moment, beside what this process counts and uses.

Labels are names of the configuration, so there are never more of them than it has entries; only the types of
unknown log entries come from outside, and storage bounds their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from daemon.model import ActionState
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from prometheus_client import Metric

    from daemon.views.connection_health import ConnectionStatus
    from daemon.views.overview import Overview
    from daemon.views.target_health import TargetStatus
    from daemon.views.trigger_health import TriggerStatus


def text(status: Overview | None, counted: CollectorRegistry | None) -> bytes:
    """Return all metrics in Prometheus' text format; without a status (the database fails) the process's own."""
    registry = CollectorRegistry()
    if status is not None:
        registry.register(_Gauges(status))
    ProcessCollector(registry=registry)
    return generate_latest(registry) + (b"" if counted is None else generate_latest(counted))


class _Gauges(Collector):
    """A status as metrics."""

    def __init__(self, status: Overview) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Every gauge."""
        status = self._status
        info = GaugeMetricFamily("pagerelay_info", "Version and kind of database", labels=("version", "database"))
        info.add_metric((status.version, status.database), 1)
        yield info
        yield GaugeMetricFamily("pagerelay_instances", "Daemons that live", len(status.instances))
        yield GaugeMetricFamily("pagerelay_journal_events", "Events that are kept", status.journal.events)
        yield from _of_connections(status.connections)
        yield _unknown_log_entries(status.connections)
        yield from _of_actions(status.connections, status.now)
        yield from _of_triggers(status.triggers)
        yield from _of_targets(status.targets, status.now)


def _of_connections(connections: Iterable[ConnectionStatus]) -> Iterator[Metric]:
    each = list(connections)
    yield _gauge(
        "connection_last_success_timestamp_seconds",
        "When the log was last read with success",
        "connection",
        ((one.name, _seconds(one.last_success_at)) for one in each),
    )
    yield _gauge(
        "connection_lag_seconds",
        "How far the reading of the log is behind",
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
        "Calls of the present period",
        "connection",
        ((one.name, one.budget.used) for one in each),
    )
    yield _gauge(
        "connection_budget_limit",
        "Calls allowed in a period",
        "connection",
        ((one.name, one.budget.calls) for one in each),
    )
    yield _gauge(
        "connection_open_incidents",
        "Incidents that are open as far as is known",
        "connection",
        ((one.name, one.open_incidents) for one in each),
    )
    yield _gauge(
        "connection_quarantined_records",
        "Records that could not be understood and were set aside",
        "connection",
        ((one.name, one.quarantined) for one in each),
    )


def _unknown_log_entries(connections: Iterable[ConnectionStatus]) -> Metric:
    family = CounterMetricFamily(
        "pagerelay_connection_unknown_log_entries",
        "Log entries of types that this version does not know",
        labels=("connection", "type"),
    )
    for connection in connections:
        for each in connection.unknown_entry_types:
            family.add_metric((connection.name, each.type), each.entries)
    return family


def _of_actions(connections: Iterable[ConnectionStatus], now: datetime) -> Iterator[Metric]:
    labels = ("connection", "state")
    waiting = GaugeMetricFamily("pagerelay_actions_unfinished", "Actions that wait or run", labels=labels)
    oldest = GaugeMetricFamily(
        "pagerelay_actions_oldest_seconds", "Age of the oldest action that waits or runs, 0 if none does", labels=labels
    )
    for one in connections:
        queue = one.actions
        for state, number, since in (
            (ActionState.QUEUED, queue.queued, queue.oldest_queued_at),
            (ActionState.RUNNING, queue.running, queue.oldest_running_at),
        ):
            waiting.add_metric((one.name, state.value), number)
            oldest.add_metric((one.name, state.value), (now - since).total_seconds() if since else 0)
    yield waiting
    yield oldest


def _of_triggers(triggers: Iterable[TriggerStatus]) -> Iterator[Metric]:
    each = list(triggers)
    yield _gauge(
        "trigger_events_behind",
        "Events of the journal that are still to be read",
        "trigger",
        ((one.name, one.behind) for one in each),
    )
    yield _gauge(
        "trigger_last_event_timestamp_seconds",
        "When there was last something to send",
        "trigger",
        ((one.name, _seconds(one.last_event_at)) for one in each),
    )


def _of_targets(targets: Iterable[TargetStatus], now: datetime) -> Iterator[Metric]:
    each = list(targets)
    kept = GaugeMetricFamily("pagerelay_deliveries", "Deliveries that are pending or dead", labels=("target", "state"))
    for one in each:
        kept.add_metric((one.name, "pending"), one.pending)
        kept.add_metric((one.name, "dead"), one.dead)
    yield kept
    yield _gauge(
        "target_oldest_pending_seconds",
        "Age of the oldest pending delivery",
        "target",
        ((one.name, (now - one.oldest_pending_at).total_seconds() if one.oldest_pending_at else 0) for one in each),
    )
    yield _gauge(
        "target_failing",
        "1 while attempts fail",
        "target",
        ((one.name, one.health is Health.FAILING) for one in each),
    )
    yield _gauge("target_paused", "1 while paused", "target", ((one.name, one.paused) for one in each))


def _gauge(name: str, help_text: str, label: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    """One gauge with one label; what has no value yet is left out."""
    family = GaugeMetricFamily(f"pagerelay_{name}", help_text, labels=(label,))
    for key, value in values:
        if value is not None:
            family.add_metric((key,), float(value))
    return family


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
