"""Actions as people see them: in pages, one by one, and how many wait."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa

from daemon import errors
from daemon.model import ActionState
from daemon.storage import action_queue, schema
from daemon.views import paging
from daemon.views.values import ActionError, ActionItem, ActionQueue, Actions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

Condition: TypeAlias = "sa.ColumnElement[bool] | sa.TextClause"

LATELY = timedelta(hours=1)
UNFINISHED = (ActionState.QUEUED, ActionState.RUNNING)


def actions(
    tx: sa.Connection,
    *,
    after: str | None = None,
    limit: int = paging.DEFAULT_PAGE,
    state: str | None = None,
    operation: str | None = None,
    connection: str | None = None,
    incident: str | None = None,
    last: bool = False,
) -> Actions:
    """A page of actions; with ``last`` the newest instead of the oldest.

    Raises UsageError for a filter that names nothing, the operation aside: what operations
    there are, the caller knows.
    """
    table = schema.actions
    query = sa.select(table)
    if state is not None:
        query = query.where(*_in_state(_state(state)))
    if operation is not None:
        query = query.where(table.c.operation == paging.valid_id(operation))
    if connection is not None:
        paging.must_exist(tx, "connection", schema.connections.c.name, connection)
        query = query.where(table.c.connection == connection)
    if incident is not None:
        query = query.where(_anywhere(), table.c.subject == paging.valid_id(incident))
    rows, following = paging.page(tx, query, table.c.seq, after, limit, last=last)
    return Actions([_action(row) for row in rows], following)


def action(tx: sa.Connection, action_id: str) -> ActionItem | None:
    """One action; None if there is none of that id."""
    if not action_id.isprintable():
        return None
    row = tx.execute(sa.select(schema.actions).where(schema.actions.c.id == action_id)).one_or_none()
    return None if row is None else _action(row)


def queues(tx: sa.Connection, connections: Iterable[str], now: datetime) -> dict[str, ActionQueue]:
    """What waits, runs and failed lately, for each of the connections."""
    table = schema.actions
    columns = table.c.connection, table.c.state, sa.func.count().label("number"), sa.func.min(table.c.created_at)
    unfinished = sa.select(*columns).where(action_queue.UNFINISHED).group_by(table.c.connection, table.c.state)
    found = {(name, state): (number, oldest) for name, state, number, oldest in tx.execute(unfinished)}
    lately = (table.c.finished_at > now - LATELY) & (table.c.state == ActionState.FAILED)
    failures = sa.select(table.c.connection, sa.func.count()).where(lately).group_by(table.c.connection)
    failed = {name: int(number) for name, number in tx.execute(failures)}
    queues = {}
    for name in connections:
        queued, running = (found.get((name, state), (0, None)) for state in UNFINISHED)
        queues[name] = ActionQueue(*queued, *running, failed.get(name, 0), LATELY.total_seconds())
    return queues


def _state(name: str) -> ActionState:
    if name in set(ActionState):
        return ActionState(name)
    raise errors.UsageError(f"no action state {paging.quoted(name)} (there are: {', '.join(ActionState)})")


def _in_state(state: ActionState) -> list[Condition]:
    """What is unfinished has a partial index, which serves only where its condition is written out."""
    wanted = schema.actions.c.state == state.value
    return [_anywhere(), action_queue.UNFINISHED, wanted] if state in UNFINISHED else [wanted]


def _anywhere() -> sa.ColumnElement[bool]:
    """Of any connection: for the indexes that begin with it."""
    return schema.actions.c.connection.in_(sa.select(schema.connections.c.name))


def _action(row: Any) -> ActionItem:  # noqa: ANN401 - a row of the actions table
    found = action_queue.of_row(row)
    return ActionItem(
        cursor=str(row.seq),
        id=found.id,
        operation=found.operation,
        connection=found.connection,
        parameters=found.shown_parameters,
        incident_id=found.subject,
        notify=found.notify,
        state=found.state,
        outcome=found.outcome,
        result=found.result,
        error=None if found.error is None else ActionError(**found.error),
        tries=found.tries,
        created_at=found.created_at,
        started_at=found.started_at,
        next_try_at=row.next_try_at if found.state is ActionState.QUEUED and found.error is not None else None,
        finished_at=found.finished_at,
    )
