"""Replays: in pages, one by one, and the unfinished ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import Any

import sqlalchemy as sa

from daemon.model import DeliveryState, ReplayState
from daemon.storage import schema
from daemon.views import paging, rows
from daemon.views.paging import Page


@dataclass(frozen=True, slots=True)
class ReplayFilters:
    """The deliveries that a replay sends again: created from ``since`` to ``until``, matching all other filters."""

    since: datetime
    until: datetime
    trigger: str | None
    target: str | None
    state: DeliveryState | None


@dataclass(frozen=True, slots=True)
class ReplayItem:
    """A replay of ``total`` deliveries, ``taken`` of which have become pending so far.

    ``pending`` of those are still to be sent. ``skipped`` is known at the end: the deliveries that were sent again
    without the replay or pruned in the meantime. ``cursor`` is its position in the list, for ``after``.
    """

    cursor: str
    id: int
    filters: ReplayFilters
    state: ReplayState
    total: int
    taken: int
    pending: int
    delivered: int
    dead: int
    skipped: int | None
    created_at: datetime
    finished_at: datetime | None


def read(
    tx: sa.Connection,
    *,
    after: str | None = None,
    limit: int = paging.DEFAULT_PAGE,
    last: bool = False,
    before: str | None = None,
) -> Page[ReplayItem]:
    """Return a page of replays; with ``last`` the newest instead of the oldest."""
    page, cursor = paging.read_rows(
        tx, sa.select(schema.replays), schema.replays.c.id, after, limit, last=last, before=before
    )
    return Page([_item(tx, row) for row in page], cursor)


def find(tx: sa.Connection, replay_id: int) -> ReplayItem | None:
    """Return one replay, or None for an unknown id."""
    if not 0 < replay_id <= paging.LARGEST_CURSOR:
        return None
    row = tx.execute(sa.select(schema.replays).where(schema.replays.c.id == replay_id)).one_or_none()
    return None if row is None else _item(tx, row)


def read_open(tx: sa.Connection) -> tuple[ReplayItem, ...]:
    """Return the unfinished replays."""
    unfinished = tx.execute(sa.select(schema.replays).where(schema.replays.c.finished_at.is_(None)))
    return tuple(_item(tx, row) for row in unfinished.all())


def _item(tx: sa.Connection, row: Any) -> ReplayItem:  # noqa: ANN401 - a row of the replays table
    """Return a replay. Deliveries taken up that are neither dead nor pending were delivered, even if pruned since."""
    pending, dead = 0, row.dead or 0
    if row.finished_at is None:
        pending, newly_dead = (_count(tx, row.id, state) for state in (DeliveryState.PENDING, DeliveryState.DEAD))
        dead += newly_dead
    state = None if row.delivery_state is None else DeliveryState(row.delivery_state)
    return rows.as_value(
        ReplayItem,
        row,
        cursor=str(row.id),
        filters=rows.as_value(ReplayFilters, row, state=state),
        state=ReplayState(row.state),
        pending=pending,
        delivered=row.taken - pending - dead,
        dead=dead,
        skipped=row.total - row.taken if row.state == ReplayState.FINISHED else None,
    )


def _count(tx: sa.Connection, replay_id: int, state: DeliveryState) -> int:
    own = schema.deliveries.c.replay == replay_id, schema.deliveries.c.state == state.value
    return int(tx.execute(sa.select(sa.func.count()).select_from(schema.deliveries).where(*own)).scalar_one())
