"""A value that differs after each change that people can see, read with a few look-ups in indexes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from daemon.storage import schema

STATES = (schema.connections, schema.triggers, schema.targets)


def read(tx: sa.Connection) -> tuple[Any, ...]:
    """Return the mark of the database's present content.

    A delivery that is renewed without an attempt shows only in ``Changes`` of the process that renewed it.
    """
    newest = [
        sa.select(sa.func.max(column)).scalar_subquery()
        for column in (
            schema.events.c.seq,
            schema.deliveries.c.id,
            schema.attempts.c.id,
            schema.actions.c.seq,
            schema.actions.c.finished_at,
            schema.replays.c.id,
        )
    ]
    marks: list[Any] = list(tx.execute(sa.select(*newest)).one())
    unfinished = sa.select(schema.actions.c.id, schema.actions.c.state, schema.actions.c.tries)
    marks.append(tuple(tx.execute(unfinished.where(schema.UNFINISHED).order_by(schema.actions.c.seq).limit(100)).all()))
    replays = sa.select(schema.replays.c.id, schema.replays.c.state, schema.replays.c.taken)
    marks.append(tuple(tx.execute(replays.order_by(schema.replays.c.id.desc()).limit(10)).all()))
    marks += [hash(tuple(tx.execute(sa.select(table).order_by(table.c.name)).all())) for table in STATES]
    return tuple(marks)
