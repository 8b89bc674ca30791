"""The lines of ``status`` about what needs attention, in the words of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from daemon.cli import terminal
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from daemon.views.action_list import ActionQueue
    from daemon.views.connection_health import ConnectionStatus
    from daemon.views.overview import Overview
    from daemon.views.target_health import TargetStatus
    from daemon.views.trigger_health import TriggerStatus

Checked = TypeVar("Checked", "ConnectionStatus", "TargetStatus", "TriggerStatus")

MOST_TYPES = 5  # that a hint names
LONG_WAIT = 60.0  # seconds that an action is queued
SEVERITY = tuple(reversed(Health))


def lines(status: Overview) -> Iterable[str]:
    """Yield one line for each thing that needs attention."""
    yield from _daemons(status)
    for connection in worst_first(status.connections):
        for trouble in (_connection(connection, status.now), _actions(connection.actions, status.now)):
            if trouble:
                yield f"connection {connection.name}: {trouble}"
    for target in worst_first(status.targets):
        if trouble := of_target(target, status.now):
            yield f"target {target.name}: {trouble}"
    for trigger in worst_first(status.triggers):
        if trigger.last_error is not None:
            yield f"trigger {trigger.name}: {trigger.last_error}"


def hints(status: Overview) -> Iterable[str]:
    """Yield one line for each thing that does no harm, but that the project should hear of."""
    if status.database_warning:
        yield status.database_warning
    for connection in status.connections:
        types = connection.unknown_entry_types
        if types:
            names = [f"{each.type} ({each.entries:,})" for each in types[:MOST_TYPES]]
            more = f" and {len(types) - MOST_TYPES} more" if len(types) > MOST_TYPES else ""
            yield f"{connection.name}: unknown log entry types: {', '.join(names)}{more} (please report)"


def _daemons(status: Overview) -> Iterable[str]:
    if status.database_problem:
        yield f"database: {status.database_problem}"
    if status.instances:
        return
    for each in status.lost_instances:
        silence = terminal.since(each.heartbeat_at, status.now)
        yield f"the daemon on {each.hostname} has recorded nothing for {silence} (see its log, or restart it)"
    if not status.lost_instances:
        yield "no daemon is running (start it: pagerelay run)"


def worst_first(statuses: Iterable[Checked]) -> list[Checked]:
    """Return connections, triggers or targets in the order of their health, the worst first."""
    return sorted(statuses, key=lambda each: SEVERITY.index(each.health))


def _connection(connection: ConnectionStatus, now: datetime) -> str | None:
    match connection.health:
        case Health.FAILING:
            return f"failing for {terminal.since(connection.failing_since, now)}: {connection.last_error}"
        case Health.LATE:
            return f"not polled for {terminal.since(connection.last_success_at, now)}"
        case Health.BLOCKED:
            return f"rate-limited by PagerDuty for another {terminal.until(connection.blocked_until, now)}"
        case _:
            return None


def of_target(target: TargetStatus, now: datetime) -> str | None:
    """Return why a target gets nothing or accepts nothing, and what to do; None if all is well."""
    resume = f"(resume: pagerelay targets resume {target.name})"
    match target.health:
        case Health.PAUSED:
            reason = target.paused_reason or ""
            paused = reason if reason.startswith("paused") else f"paused: {reason}".removesuffix(": ")
            return f"{paused}, for {terminal.since(target.paused_at, now)} {resume}"
        case Health.BLOCKED:
            return f"backing off for {terminal.until(target.probe_at, now)} at the target's request {resume}"
        case Health.FAILING if target.failing_since is None and target.refusing_since is not None:
            since = terminal.since(target.refusing_since, now)
            see = f"(see: pagerelay deliveries list --target {target.name})"
            return f"has rejected every message for {since}: {target.last_error} {see}"
        case Health.FAILING if target.failing_since is None:
            counts = f"{target.pending:,} pending, {target.dead:,} dead"
            return f"nothing accepted yet, {counts} (see: pagerelay deliveries list --target {target.name})"
        case Health.FAILING:
            waits = target.probe_at is not None and target.probe_at > now
            retry = f" (next attempt in {terminal.until(target.probe_at, now)})" if waits else ""
            return f"failing for {terminal.since(target.failing_since, now)}: {target.last_error}{retry}"
        case _:
            return None


def _actions(actions: ActionQueue, now: datetime) -> str | None:
    """Return that actions are queued for long, which they are not while all is well."""
    oldest = actions.oldest_queued_at
    if oldest is None or (now - oldest).total_seconds() < LONG_WAIT:
        return None
    waiting = "1 action queued" if actions.queued == 1 else f"{actions.queued:,} actions queued, the oldest"
    return f"{waiting} for {terminal.since(oldest, now)} (see: pagerelay actions list)"
