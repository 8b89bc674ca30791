"""The times at which something becomes due, across the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.storage import sql
from daemon.storage.deliveries import PENDING
from daemon.storage.schema import UNFINISHED, actions, connections, deliveries, targets

if TYPE_CHECKING:
    from datetime import datetime, timedelta

MICROSECOND = 1_000_000


def move_back(tx: sa.Connection, now: datetime, by: timedelta) -> None:
    """Make everything that becomes due after ``now`` due earlier by this span, though not before ``now``.

    Polls and sweeps are not among it: a due time further ahead than their interval counts as past anyway.
    """
    for column, *where in (
        (deliveries.c.next_attempt_at, deliveries.c.state == PENDING),
        (actions.c.next_try_at, UNFINISHED),
        (targets.c.probe_at,),
        (targets.c.blocked_until,),
        (connections.c.blocked_until,),
    ):
        earlier = sa.case((column <= now + by, sa.literal(now, column.type)), else_=_earlier(tx, column, by))
        tx.execute(sa.update(column.table).where(*where, column > now).values({column: earlier}))


def _earlier(tx: sa.Connection, column: sa.Column[Any], by: timedelta) -> sa.ColumnElement[Any]:
    if sql.is_postgres(tx):
        return column - sa.literal(by, sa.Interval)
    return sa.type_coerce(column, sa.BigInteger) - round(by.total_seconds() * MICROSECOND)
