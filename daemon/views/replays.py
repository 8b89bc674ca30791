"""Replays as people see them: in pages, one by one, and those that go on."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.model import DeliveryState, ReplayState
from daemon.storage import schema
from daemon.views import paging
from daemon.views.values import ReplayFilters, ReplayItem, Replays


def replays(
    tx: sa.Connection, *, after: str | None = None, limit: int = paging.DEFAULT_PAGE, last: bool = False
) -> Replays:
    """A page of replays; with ``last`` the newest instead of the oldest."""
    rows, following = paging.page(tx, sa.select(schema.replays), schema.replays.c.id, after, limit, last=last)
    return Replays([_item(tx, row) for row in rows], following)


def replay(tx: sa.Connection, replay_id: int) -> ReplayItem | None:
    """One replay; None if there is none of that id."""
    if not 0 < replay_id <= paging.LARGEST_CURSOR:
        return None
    row = tx.execute(sa.select(schema.replays).where(schema.replays.c.id == replay_id)).one_or_none()
    return None if row is None else _item(tx, row)


def open_replays(tx: sa.Connection) -> tuple[ReplayItem, ...]:
    """The replays that are not at their end."""
    rows = tx.execute(sa.select(schema.replays).where(schema.replays.c.finished_at.is_(None)))
    return tuple(_item(tx, row) for row in rows.all())


def _item(tx: sa.Connection, row: Any) -> ReplayItem:  # noqa: ANN401 - a row of the replays table
    """What is not dead and not pending of what was taken up is delivered, even if it was pruned since."""
    pending, dead = 0, row.dead or 0
    if row.finished_at is None:
        pending, died = (_count(tx, row.id, state) for state in (DeliveryState.PENDING, DeliveryState.DEAD))
        dead += died
    return ReplayItem(
        cursor=str(row.id),
        id=row.id,
        filters=ReplayFilters(
            row.since,
            row.until,
            row.trigger,
            row.target,
            None if row.delivery_state is None else DeliveryState(row.delivery_state),
        ),
        state=ReplayState(row.state),
        total=row.total,
        taken=row.taken,
        pending=pending,
        delivered=row.taken - pending - dead,
        dead=dead,
        skipped=row.total - row.taken if row.state == ReplayState.FINISHED else None,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _count(tx: sa.Connection, replay_id: int, state: DeliveryState) -> int:
    mine = schema.deliveries.c.replay == replay_id, schema.deliveries.c.state == state.value
    return int(tx.execute(sa.select(sa.func.count()).select_from(schema.deliveries).where(*mine)).scalar_one())
