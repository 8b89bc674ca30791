"""The state of the configured targets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from daemon.model import DeliveryState, TargetState
from daemon.outbound import signing
from daemon.storage import sql
from daemon.storage.schema import deliveries, targets
from daemon.storage.targets import state_of
from daemon.views import rows
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from daemon.settings import Target

# Partial indexes are used only if the condition is written out.
PENDING: sa.ColumnElement[str] = sa.literal_column(f"'{DeliveryState.PENDING}'")
DEAD: sa.ColumnElement[str] = sa.literal_column(f"'{DeliveryState.DEAD}'")


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One webhook receiver. Its URL is shortened to scheme, host and port: the rest may be a secret.

    ``pending`` counts all deliveries still to be sent, ``replayed`` those of them that are sent again;
    ``oldest_pending_at`` is about the others. A failing or blocked target is tried again at ``probe_at``. A target
    that has not accepted anything yet is failing without ``failing_since`` until three attempts in a row have
    failed; one that rejects every message is failing with ``refusing_since``. ``public_keys`` are the keys with
    which receivers verify Ed25519 signatures.
    """

    name: str
    health: Health
    url: str
    format: str
    public_keys: tuple[str, ...]
    paused: bool
    paused_at: datetime | None
    paused_reason: str | None
    pending: int
    replayed: int
    oldest_pending_at: datetime | None
    dead: int
    last_success_at: datetime | None
    failing_since: datetime | None
    refusing_since: datetime | None
    probe_at: datetime | None
    last_error: str | None


def read(tx: sa.Connection, configured: Mapping[str, Target], now: datetime) -> tuple[TargetStatus, ...]:
    """Return the configured targets, in the configuration's order."""
    by_name = {row.name: row for row in tx.execute(_counted(tx, configured))}
    oldest_ids = [row.oldest for row in by_name.values() if row.oldest is not None]
    created = sa.select(deliveries.c.target, deliveries.c.created_at).where(deliveries.c.id.in_(oldest_ids))
    oldest = {row.target: row.created_at for row in tx.execute(created)}
    statuses = []
    for name, target in configured.items():
        row = by_name.get(name)
        state = TargetState() if row is None else state_of(row)
        status = rows.as_value(
            TargetStatus,
            row,
            name=name,
            health=_health(row, state, now),
            url=origin(target.url.get_secret_value()),
            format=target.format,
            public_keys=signing.public_keys([each.get_secret_value() for each in target.secrets]),
            paused=state.paused_at is not None,
            pending=0 if row is None else row.pending,
            replayed=0 if row is None else row.replayed,
            oldest_pending_at=oldest.get(name),
            dead=0 if row is None else row.dead,
            probe_at=state.ready_at,
        )
        statuses.append(status)
    return tuple(statuses)


def origin(url: str) -> str:
    """Return scheme, host and port of a URL, and ``/…`` for a path or query: many receivers put a secret there."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{'/…' if parts.path.strip('/') or parts.query else ''}"


def _counted(tx: sa.Connection, names: Collection[str]) -> sa.Select[Any]:
    """Return the query for these targets with the numbers of their deliveries: one pass over the partial indexes."""
    mine, is_live = sql.among(tx, deliveries.c.target, names), deliveries.c.replay.is_(None)
    waiting = (
        sa.select(
            deliveries.c.target,
            sa.func.count().label("pending"),
            sa.func.count(deliveries.c.replay).label("replayed"),
            sa.func.min(sa.case((is_live, deliveries.c.id))).label("oldest"),
            sa.func.max(sa.case((is_live, deliveries.c.attempts))).label("attempts"),
        )
        .where(mine, deliveries.c.state == PENDING)
        .group_by(deliveries.c.target)
        .subquery()
    )
    dead = (
        sa.select(deliveries.c.target, sa.func.count().label("dead"))
        .where(mine, deliveries.c.state == DEAD)
        .group_by(deliveries.c.target)
        .subquery()
    )
    source = targets.outerjoin(waiting, waiting.c.target == targets.c.name)
    return sa.select(
        targets,
        sa.func.coalesce(waiting.c.pending, 0).label("pending"),
        sa.func.coalesce(waiting.c.replayed, 0).label("replayed"),
        waiting.c.oldest,
        waiting.c.attempts,
        sa.func.coalesce(dead.c.dead, 0).label("dead"),
    ).select_from(source.outerjoin(dead, dead.c.target == targets.c.name))


def _health(row: Any, state: TargetState, now: datetime) -> Health:  # noqa: ANN401 - a counted row, or None
    if row is None:
        return Health.WAITING
    if state.paused_at is not None:
        return Health.PAUSED
    if state.failing_since is None and state.is_blocked(now):
        return Health.BLOCKED
    if state.failing_since is not None or state.refusing_since is not None:
        return Health.FAILING
    if state.last_success_at is not None:
        return Health.OK
    return Health.FAILING if row.attempts or row.dead else Health.WAITING
