"""The state of the configured targets."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import sqlalchemy as sa

from daemon.model import DeliveryState
from daemon.outbound import signing
from daemon.storage import sql
from daemon.storage.deliveries import count_by_target, in_state
from daemon.storage.replays import OPEN, REDELIVERED
from daemon.storage.schema import deliveries, replays, targets
from daemon.storage.targets import state_of
from daemon.views import failed_attempts, rows
from daemon.views.failed_attempts import FailedAttempt  # noqa: TC001 - the API reads the annotations
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from daemon.model import TargetState
    from daemon.settings import Target

# Deliveries of open replays, and those redelivered one by one; only the index on replays finds them quickly.
_REPLAYS = sa.union_all(sa.select(replays.c.id).where(OPEN), sa.select(sa.literal_column(f"{REDELIVERED}")))
_SENT_AGAIN = in_state(DeliveryState.PENDING), deliveries.c.replay.in_(_REPLAYS)
NOTHING = (0, 0)
WELL = (Health.OK, Health.WAITING)
MOST_TRIED = 100  # oldest deliveries: they are tried first, so one that was tried is among them


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One webhook receiver. Its URL is shortened to scheme, host and port: the rest may be a secret.

    ``pending`` counts all deliveries still to be sent, ``replayed`` those of them that are sent again;
    ``oldest_pending_at`` is about the others. A failing or blocked target is tried again at ``probe_at``. A target
    that has not accepted anything yet is failing without ``failing_since`` until three attempts in a row have
    failed; one that rejects every message is failing with ``refusing_since``. ``last_failure`` is its last failed
    attempt, null while it is well. ``public_keys`` are the keys with which receivers verify Ed25519 signatures.
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
    last_failure: FailedAttempt | None

    @property
    def error(self) -> str | None:
        """Return why it is not well: the error of the last failed attempt, if that is kept."""
        return self.last_error if self.last_failure is None else self.last_failure.error


def read(tx: sa.Connection, configured: Mapping[str, Target], now: datetime) -> tuple[TargetStatus, ...]:
    """Return the configured targets, in the configuration's order."""
    stored = sa.select(targets).where(sql.among(tx, targets.c.name, configured))
    by_name = {row.name: row for row in rows.read_all(tx, stored)}
    pending = count_by_target(tx, DeliveryState.PENDING, configured)
    dead = count_by_target(tx, DeliveryState.DEAD, configured)
    replayed = _replayed(tx)
    oldest = _oldest(tx, {name: first for name, (_, first) in pending.items() if name in configured}, replayed)
    tried = _tried(tx, [name for name, row in by_name.items() if name in pending and row.last_success_at is None])
    waiting = {name: state_of(row) for name, row in by_name.items() if _may_wait(row)}
    healths = {
        name: _health(by_name.get(name), waiting.get(name), now, was_rejected=name in tried or name in dead)
        for name in configured
    }
    failures = failed_attempts.read(tx, by_name, [name for name in by_name if healths[name] not in WELL])
    statuses = []
    for name, target in configured.items():
        row, state = by_name.get(name), waiting.get(name)
        status = rows.as_value(
            TargetStatus,
            row,
            name=name,
            health=healths[name],
            url=origin(target.url.get_secret_value()),
            format=target.format,
            public_keys=signing.public_keys([each.get_secret_value() for each in target.secrets]),
            paused=row is not None and row.paused_at is not None,
            pending=pending.get(name, NOTHING)[0],
            replayed=replayed.get(name, 0),
            oldest_pending_at=oldest.get(name),
            dead=dead.get(name, NOTHING)[0],
            probe_at=None if state is None else state.ready_at,
            last_failure=failures.get(name),
        )
        statuses.append(status)
    return tuple(statuses)


@functools.lru_cache(4096)
def origin(url: str) -> str:
    """Return scheme, host and port of a URL, and ``/…`` for a path or query: many receivers put a secret there."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{'/…' if parts.path.strip('/') or parts.query else ''}"


def _replayed(tx: sa.Connection) -> dict[str, int]:
    """Return the number of pending deliveries of each target that are sent again."""
    columns = deliveries.c.target, sa.func.count().label("number")
    counted = sa.select(*columns).where(*_SENT_AGAIN).group_by(deliveries.c.target)
    return {row.target: row.number for row in tx.execute(counted).all()}


def _oldest(tx: sa.Connection, firsts: Mapping[str, int], replayed: Mapping[str, int]) -> dict[str, datetime]:
    """Return when the oldest pending delivery of each target was created, apart from those that are sent again.

    ``firsts`` has the oldest one of each target, whether or not it is sent again.
    """
    ids = [_oldest_live(tx, name) if name in replayed else first for name, first in firsts.items()]
    columns = deliveries.c.target, deliveries.c.created_at
    return {
        row.target: row.created_at for row in tx.execute(sa.select(*columns).where(sql.among(tx, deliveries.c.id, ids)))
    }


def _oldest_live(tx: sa.Connection, name: str) -> int | None:
    again = sa.select(deliveries.c.id).where(*_SENT_AGAIN)
    mine = deliveries.c.target == name, in_state(DeliveryState.PENDING), deliveries.c.id.not_in(again)
    first: int | None = tx.execute(sa.select(sa.func.min(deliveries.c.id)).where(*mine)).scalar_one()
    return first


def _tried(tx: sa.Connection, names: Collection[str]) -> frozenset[str]:
    """Return those of the targets that were tried with a delivery that is still pending and not sent again."""
    if not names:
        return frozenset()
    table = sql.value_table("names", postgres=sql.is_postgres(tx))
    mine = deliveries.c.target == table.c.value, in_state(DeliveryState.PENDING)
    oldest = sa.select(deliveries.c.id).where(*mine).order_by(deliveries.c.id + 0).limit(MOST_TRIED).correlate(table)
    among = deliveries.alias()
    attempted = among.c.id.in_(oldest.scalar_subquery()), among.c.replay.is_(None), among.c.attempts > 0
    tried = sa.exists().where(*attempted).correlate(table)
    return frozenset(tx.execute(sa.select(table.c.value).where(tried), {"names": names}).scalars())


def _may_wait(row: Any) -> bool:  # noqa: ANN401 - a row of the targets table
    """Return whether a target may have to wait for a time; to look closer at hundreds of others takes a while."""
    return row.failing_since is not None or row.blocked_until is not None


def _health(row: Any, state: TargetState | None, now: datetime, *, was_rejected: bool) -> Health:  # noqa: ANN401 - as above, or None
    if row is None:
        return Health.WAITING
    if row.paused_at is not None:
        return Health.PAUSED
    if state is not None and state.failing_since is None and state.is_blocked(now):
        return Health.BLOCKED
    if row.failing_since is not None or row.refusing_since is not None:
        return Health.FAILING
    if row.last_success_at is not None:
        return Health.OK
    return Health.FAILING if was_rejected else Health.WAITING
