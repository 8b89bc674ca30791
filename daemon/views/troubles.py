"""The list of what needs attention, decided once for command line and page: in the same order, the worst first."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from daemon.views.connection_health import ConnectionStatus
    from daemon.views.failed_attempts import FailedAttempt
    from daemon.views.overview import Overview
    from daemon.views.target_health import TargetStatus
    from daemon.views.trigger_health import TriggerStatus

Checked = TypeVar("Checked", "ConnectionStatus", "TargetStatus", "TriggerStatus")

LONG_WAIT = timedelta(seconds=60)  # that an action is queued
SEVERITY = tuple(reversed(Health))
ATTENTION = (Health.FAILING, Health.LATE, Health.PAUSED, Health.BLOCKED)


class Subject(enum.StrEnum):
    """The subject of a trouble."""

    DATABASE = "database"
    DAEMON = "daemon"
    CLOCK = "clock"  # of a daemon's host
    CONNECTION = "connection"
    ACTIONS = "actions"  # of a connection
    TARGET = "target"
    TRIGGER = "trigger"
    ORPHANED_ACTIONS = "orphaned actions"  # of a connection that is not configured
    ORPHANED_DELIVERIES = "orphaned deliveries"  # to a target that is not configured


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that needs attention: ``name`` (a daemon's host) is in this ``health`` ``since`` then.

    ``until`` is the end of a pause or the next attempt, if it is still to come. ``refusing``: a target responds, but
    rejects every message. ``waiting`` counts deliveries or
    actions that wait, ``dead`` deliveries that were given up. ``last_failure`` is a target's last failed attempt.
    """

    subject: Subject
    name: str
    health: Health
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    waiting: int = 0
    dead: int = 0
    refusing: bool = False
    last_failure: FailedAttempt | None = None


def find(status: Overview) -> list[Trouble]:
    """Return everything that needs attention: daemons, then connections, targets and triggers."""
    troubles = list(_daemons(status))
    for connection in worst_first(status.connections):
        troubles += _of_connection(connection, status.now)
    for target in worst_first(status.targets):
        if trouble := of_target(target, status.now):
            troubles.append(trouble)
    for trigger in worst_first(status.triggers):
        if trigger.last_error is not None:
            troubles.append(Trouble(Subject.TRIGGER, trigger.name, trigger.health, reason=trigger.last_error))
    orphaned = (
        (Subject.ORPHANED_ACTIONS, status.orphaned_actions),
        (Subject.ORPHANED_DELIVERIES, status.orphaned_deliveries),
    )
    troubles += (
        Trouble(kind, name, Health.LATE, waiting=count) for kind, counts in orphaned for name, count in counts.items()
    )
    return troubles


def worst_first(statuses: Iterable[Checked]) -> list[Checked]:
    """Return connections, triggers or targets in the order of their health, the worst first."""
    return sorted(statuses, key=lambda each: SEVERITY.index(each.health))


def _daemons(status: Overview) -> Iterator[Trouble]:
    if status.database_problem:
        yield Trouble(Subject.DATABASE, "", Health.FAILING, reason=status.database_problem)
    for each in status.instances:
        if each.clock_problem:
            yield Trouble(Subject.CLOCK, each.hostname, Health.FAILING, reason=each.clock_problem)
    if status.instances:
        return
    for each in status.lost_instances:
        yield Trouble(Subject.DAEMON, each.hostname, Health.LATE, since=each.heartbeat_at)
    if not status.lost_instances:
        yield Trouble(Subject.DAEMON, "", Health.FAILING)


def _of_connection(connection: ConnectionStatus, now: datetime) -> Iterator[Trouble]:
    name, health = connection.name, connection.health
    match health:
        case Health.FAILING:
            since, until = connection.failing_since, _coming(connection.next_poll_at, now)
            yield Trouble(Subject.CONNECTION, name, health, since, until, connection.last_error)
        case Health.LATE:
            yield Trouble(Subject.CONNECTION, name, health, since=connection.last_success_at)
        case Health.BLOCKED:
            yield Trouble(Subject.CONNECTION, name, health, until=connection.blocked_until)
    oldest = connection.actions.oldest_queued_at
    if oldest is not None and now - oldest >= LONG_WAIT:  # which they are not while all is well
        yield Trouble(Subject.ACTIONS, name, Health.LATE, since=oldest, waiting=connection.actions.queued)


def of_target(target: TargetStatus, now: datetime) -> Trouble | None:
    """Return why a target gets nothing or accepts nothing; None if all is well."""
    if target.health not in ATTENTION:
        return None
    refusing = target.failing_since is None and target.refusing_since is not None and target.health is Health.FAILING
    since = target.refusing_since if refusing else target.failing_since
    until, reason = _coming(target.probe_at, now), target.error
    if target.health is Health.PAUSED:
        since, until, reason = target.paused_at, None, target.paused_reason
    return Trouble(
        Subject.TARGET,
        target.name,
        target.health,
        since,
        until,
        reason,
        waiting=target.pending,
        dead=target.dead,
        refusing=refusing,
        last_failure=target.last_failure,
    )


def _coming(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment > now else None
