"""How everything is at this moment: connections, triggers, targets, the journal, the daemons."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import sqlalchemy as sa

import daemon
from daemon.model import DeliveryState
from daemon.outbound import signing
from daemon.storage import ratelimit
from daemon.storage.schema import connections, deliveries, events, instances, quarantine, snapshots, targets, triggers
from daemon.storage.targets import ready_at
from daemon.views.actions import queues
from daemon.views.readiness import patience
from daemon.views.replays import open_replays
from daemon.views.values import Budget, ConnectionStatus, Health, Instance, Journal, Status, TargetStatus, TriggerStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from daemon.settings import Connection, Target, Trigger

ALIVE = timedelta(seconds=60)  # a daemon without a heartbeat for so long is taken for dead
OPEN = ("triggered", "acknowledged")
# Partial indexes are used only where the condition is written out.
PENDING: sa.ColumnElement[str] = sa.literal_column(f"'{DeliveryState.PENDING}'")
DEAD: sa.ColumnElement[str] = sa.literal_column(f"'{DeliveryState.DEAD}'")


def status(
    tx: sa.Connection,
    configured: Mapping[str, Connection],
    subscriptions: Mapping[str, Trigger],
    receivers: Mapping[str, Target],
    now: datetime,
) -> Status:
    """How everything that is configured is doing."""
    return Status(
        version=daemon.__version__,
        database=tx.dialect.name,
        now=now,
        instances=living(tx, now),
        journal=_journal(tx),
        connections=connection_statuses(tx, configured, subscriptions.values(), now),
        triggers=trigger_statuses(tx, subscriptions),
        targets=target_statuses(tx, receivers, now),
        replays=open_replays(tx),
    )


def living(tx: sa.Connection, now: datetime) -> tuple[Instance, ...]:
    """The daemons that live."""
    columns = (getattr(instances.c, key) for key in ("id", "hostname", "version", "started_at", "heartbeat_at"))
    alive = sa.select(*columns).where(instances.c.heartbeat_at >= now - ALIVE).order_by(instances.c.started_at)
    return tuple(Instance(*row) for row in tx.execute(alive))


def connection_statuses(
    tx: sa.Connection, configured: Mapping[str, Connection], subscriptions: Iterable[Trigger], now: datetime
) -> tuple[ConnectionStatus, ...]:
    """The configured connections, in the configuration's order."""
    every = list(subscriptions)
    rows = {row.name: row for row in tx.execute(sa.select(connections))}
    opened = _count(tx, snapshots.c.connection, snapshots.c.status.in_(OPEN))
    set_aside = _count(tx, quarantine.c.connection)
    queued = queues(tx, configured, now)
    found = []
    for name, connection in configured.items():
        row = rows.get(name)
        limits = connection.limits
        used = ratelimit.used(tx, name, limits, now)
        found.append(
            ConnectionStatus(
                name=name,
                health=_connection_health(row, patience(connection, every), now),
                baseline_at=_value(row, "baseline_at"),
                last_poll_at=_value(row, "last_poll_at"),
                last_success_at=_value(row, "last_success_at"),
                next_poll_at=_value(row, "next_poll_at"),
                failing_since=_value(row, "failing_since"),
                last_error=_value(row, "last_error"),
                watermark=_value(row, "watermark"),
                lag=None if row is None or row.watermark is None else (now - row.watermark).total_seconds(),
                budget=Budget(limits.calls, limits.period.total_seconds(), used, max(limits.calls - used, 0)),
                blocked_until=_value(row, "blocked_until") if _is_blocked(row, now) else None,
                actions=queued[name],
                open_incidents=opened[name],
                quarantined=set_aside[name],
                next_sweep_at=_value(row, "next_sweep_at"),
                next_reconcile_at=_value(row, "next_reconcile_at"),
            )
        )
    return tuple(found)


def trigger_statuses(tx: sa.Connection, configured: Mapping[str, Trigger]) -> tuple[TriggerStatus, ...]:
    """The configured triggers, in the configuration's order."""
    rows = {row.name: row for row in tx.execute(sa.select(triggers))}
    # Most triggers stand at the same place in the journal: count what lies behind each place once.
    behind: dict[tuple[str, int], int] = {}
    found = []
    for name, trigger in configured.items():
        row = rows.get(name)
        count = 0
        if row is not None:
            place = (trigger.connection, row.watermark)
            if place not in behind:
                behind[place] = _events_behind(tx, *place)
            count = behind[place]
        found.append(
            TriggerStatus(
                name=name,
                health=_trigger_health(row, count),
                on=trigger.on,
                connection=trigger.connection,
                to=trigger.to,
                behind=count,
                last_run_at=_value(row, "last_run_at"),
                last_event_at=_value(row, "last_event_at"),
                last_error=_value(row, "last_error"),
            )
        )
    return tuple(found)


def target_statuses(tx: sa.Connection, configured: Mapping[str, Target], now: datetime) -> tuple[TargetStatus, ...]:
    """The configured targets, in the configuration's order."""
    mine = deliveries.c.target == targets.c.name
    live = deliveries.c.state == PENDING, deliveries.c.replay.is_(None)
    # Written with + 0, PostgreSQL looks through the pending ones and not, in the order of ids, through all.
    oldest_id = sa.select(sa.func.min(deliveries.c.id + 0)).where(mine, *live)
    pending = sa.select(sa.func.count()).select_from(deliveries).where(mine, deliveries.c.state == PENDING)
    replayed = pending.where(deliveries.c.replay.is_not(None))
    tried = sa.select(sa.func.max(deliveries.c.attempts)).where(mine, *live)
    dead = sa.select(sa.func.count()).select_from(deliveries).where(mine, deliveries.c.state == DEAD)
    counted = sa.select(
        targets,
        pending.scalar_subquery().label("pending"),
        replayed.scalar_subquery().label("replayed"),
        oldest_id.scalar_subquery().label("oldest"),
        tried.scalar_subquery().label("tried"),
        dead.scalar_subquery().label("dead"),
    )
    rows = {row.name: row for row in tx.execute(counted)}
    oldest_ids = [row.oldest for row in rows.values() if row.oldest is not None]
    created = sa.select(deliveries.c.target, deliveries.c.created_at).where(deliveries.c.id.in_(oldest_ids))
    oldest = {row.target: row.created_at for row in tx.execute(created)}
    found = []
    for name, target in configured.items():
        row = rows.get(name)
        found.append(
            TargetStatus(
                name=name,
                health=_target_health(row, now),
                url=origin(target.url.get_secret_value()),
                format=target.format,
                public_keys=signing.public_keys([each.get_secret_value() for each in target.secrets]),
                paused=_value(row, "paused_at") is not None,
                paused_at=_value(row, "paused_at"),
                paused_reason=_value(row, "paused_reason"),
                pending=_value(row, "pending") or 0,
                replayed=_value(row, "replayed") or 0,
                oldest_pending_at=oldest.get(name),
                dead=_value(row, "dead") or 0,
                last_success_at=_value(row, "last_success_at"),
                failing_since=_value(row, "failing_since"),
                probe_at=None if row is None else ready_at(row),
                last_error=_value(row, "last_error"),
            )
        )
    return tuple(found)


def origin(url: str) -> str:
    """Scheme, host and port of a URL; a path is hinted at, since many receivers carry their secret there."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{'/…' if parts.path.strip('/') or parts.query else ''}"


def _journal(tx: sa.Connection) -> Journal:
    count = tx.execute(sa.select(sa.func.count()).select_from(events)).scalar_one()
    oldest = tx.execute(sa.select(sa.func.min(events.c.detected_at))).scalar_one()
    newest = tx.execute(sa.select(sa.func.max(events.c.detected_at))).scalar_one()
    return Journal(int(count), oldest, newest)


def _events_behind(tx: sa.Connection, connection: str, watermark: int) -> int:
    unread = (events.c.connection == connection) & (events.c.seq > watermark)
    return int(tx.execute(sa.select(sa.func.count()).select_from(events).where(unread)).scalar_one())


def _count(tx: sa.Connection, by: sa.Column[str], *where: sa.ColumnElement[bool]) -> defaultdict[str, int]:
    rows = tx.execute(sa.select(by, sa.func.count()).where(*where).group_by(by))
    return defaultdict(int, ((name, count) for name, count in rows))


def _value(row: Any, column: str) -> Any:  # noqa: ANN401 - a row of any table, or none
    return None if row is None else getattr(row, column)


def _is_blocked(row: Any, now: datetime) -> bool:  # noqa: ANN401 - a row of the connections table, or none
    until = _value(row, "blocked_until")
    return until is not None and now < until <= now + ratelimit.LONGEST_BLOCK


def _connection_health(row: Any, patience: timedelta, now: datetime) -> Health:  # noqa: ANN401 - a row of the connections table, or none
    if _value(row, "failing_since") is not None:
        return Health.FAILING
    if _is_blocked(row, now):
        return Health.BLOCKED
    last = _value(row, "last_success_at") or _value(row, "last_poll_at")
    if last is not None and now - last > patience:
        return Health.LATE
    return Health.WAITING if _value(row, "last_success_at") is None else Health.OK


def _trigger_health(row: Any, behind: int) -> Health:  # noqa: ANN401 - a row of the triggers table, or none
    if row is None:
        return Health.WAITING
    if row.last_error is not None:
        return Health.FAILING
    return Health.BEHIND if behind else Health.OK


def _target_health(row: Any, now: datetime) -> Health:  # noqa: ANN401 - a row of the targets table, or none
    if row is None:
        return Health.WAITING
    if row.paused_at is not None:
        return Health.PAUSED
    if row.failing_since is not None:
        return Health.FAILING
    if row.blocked_until is not None and now < row.blocked_until:
        return Health.BLOCKED
    if row.last_success_at is not None:
        return Health.OK
    return Health.FAILING if row.tried or row.dead else Health.WAITING
