"""Actions: in pages, one by one, and how many are queued."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from daemon.model import ActionState, Json, Outcome
from daemon.storage import action_queue, schema
from daemon.views import paging
from daemon.views.paging import Page

if TYPE_CHECKING:
    from collections.abc import Iterable

Condition: TypeAlias = "sa.ColumnElement[bool] | sa.TextClause"

RECENT = timedelta(hours=1)
UNFINISHED = (ActionState.QUEUED, ActionState.RUNNING)


@dataclass(frozen=True, slots=True)
class ActionQueue:
    """A connection's actions: how many are queued and running, since when, and how many failed recently.

    ``failed`` counts those that failed in the last ``failed_within`` seconds.
    """

    queued: int
    oldest_queued_at: datetime | None
    running: int
    oldest_running_at: datetime | None
    failed: int
    failed_within: float


@dataclass(frozen=True, slots=True)
class ActionFailure:
    """The error of an action that failed or will be retried. ``code`` is for programs, ``message`` for people.

    ``status`` and ``pagerduty_code`` are those of PagerDuty's response, if there was one.
    """

    code: str
    message: str
    status: int | None = None
    pagerduty_code: int | None = None


@dataclass(frozen=True, slots=True)
class ActionItem:
    """A request to change or read PagerDuty. Secrets in ``parameters`` are masked.

    ``result`` is the connector's object. A queued action has an ``error`` after a failed attempt, and is
    retried at ``next_try_at``. ``cursor`` is its position in the list, for ``after``.
    """

    cursor: str
    id: str
    operation: str
    connection: str
    parameters: Json
    incident_id: str | None
    notify: tuple[str, ...]
    state: ActionState
    outcome: Outcome | None
    result: Json | None
    error: ActionFailure | None
    tries: int
    created_at: datetime
    started_at: datetime | None
    next_try_at: datetime | None
    finished_at: datetime | None


def read(
    tx: sa.Connection,
    *,
    after: str | None = None,
    limit: int = paging.DEFAULT_PAGE,
    state: str | None = None,
    operation: str | None = None,
    connection: str | None = None,
    incident: str | None = None,
    last: bool = False,
    before: str | None = None,
) -> Page[ActionItem]:
    """Return a page of actions; with ``last`` the newest instead of the oldest.

    With ``before`` it goes backwards from there. Raises UsageError for an unknown connection or state. The caller
    checks the operation.
    """
    table = schema.actions
    query = sa.select(table)
    if state is not None:
        paging.must_be_state("action", state, ActionState)
        query = query.where(*_in_state(ActionState(state)))
    if operation is not None:
        query = query.where(table.c.operation == paging.valid_id(operation))
    if connection is not None:
        paging.must_exist(tx, "connection", schema.connections.c.name, connection)
        query = query.where(table.c.connection == connection)
    if incident is not None:
        query = query.where(_any_connection(), table.c.subject == paging.valid_id(incident))
    rows, cursor = paging.read_rows(tx, query, table.c.seq, after, limit, last=last, before=before)
    return Page([_item(row) for row in rows], cursor)


def find(tx: sa.Connection, action_id: str) -> ActionItem | None:
    """Return one action, or None for an unknown id."""
    if not action_id.isprintable():
        return None
    row = tx.execute(sa.select(schema.actions).where(schema.actions.c.id == action_id)).one_or_none()
    return None if row is None else _item(row)


def read_queues(tx: sa.Connection, connections: Iterable[str], now: datetime) -> dict[str, ActionQueue]:
    """Return the number of queued, running and recently failed actions of each connection."""
    table = schema.actions
    columns = table.c.connection, table.c.state, sa.func.count().label("number"), sa.func.min(table.c.created_at)
    unfinished = sa.select(*columns).where(schema.UNFINISHED).group_by(table.c.connection, table.c.state)
    counts = {(name, state): (number, oldest) for name, state, number, oldest in tx.execute(unfinished)}
    recent = (table.c.finished_at > now - RECENT) & (table.c.state == ActionState.FAILED)
    failures = sa.select(table.c.connection, sa.func.count()).where(recent).group_by(table.c.connection)
    failed = {name: int(number) for name, number in tx.execute(failures)}
    queues = {}
    for name in connections:
        queued, running = (counts.get((name, state), (0, None)) for state in UNFINISHED)
        queues[name] = ActionQueue(*queued, *running, failed.get(name, 0), RECENT.total_seconds())
    return queues


def _in_state(state: ActionState) -> list[Condition]:
    """Return the conditions for a state; the partial index on unfinished actions needs its own written out."""
    in_state = schema.actions.c.state == state.value
    return [_any_connection(), schema.UNFINISHED, in_state] if state in UNFINISHED else [in_state]


def _any_connection() -> sa.ColumnElement[bool]:
    """Return a condition that is always true, for the indexes that begin with the connection."""
    return schema.actions.c.connection.in_(sa.select(schema.connections.c.name))


def _item(row: Any) -> ActionItem:  # noqa: ANN401 - a row of the actions table
    action = action_queue.of_row(row)
    retried = action.state is ActionState.QUEUED and action.error is not None
    return ActionItem(
        cursor=str(row.seq),
        id=action.id,
        operation=action.operation,
        connection=action.connection,
        parameters=action.shown_parameters,
        incident_id=action.incident_id,
        notify=action.notify,
        state=action.state,
        outcome=action.outcome,
        result=action.result,
        error=None if action.error is None else ActionFailure(**action.error),
        tries=action.runs,
        created_at=action.created_at,
        started_at=action.started_at,
        next_try_at=row.next_try_at if retried else None,
        finished_at=action.finished_at,
    )
