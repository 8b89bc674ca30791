"""Sessions of the page that were ended by signing out. Plain functions on an open transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.storage import sql
from daemon.storage.schema import ended_sessions

if TYPE_CHECKING:
    from datetime import datetime


def end(tx: sa.Connection, session_id: str, now: datetime) -> None:
    """Record that a session has ended."""
    sql.insert_new(tx, ended_sessions, [{"id": session_id, "ended_at": now}])


def has_ended(tx: sa.Connection, session_id: str) -> bool:
    """Return whether a session was ended."""
    mine = sa.select(ended_sessions.c.id).where(ended_sessions.c.id == session_id)
    return tx.execute(mine).first() is not None


def ended_since(tx: sa.Connection, since: datetime) -> frozenset[str]:
    """Return the sessions that ended since then."""
    recent = sa.select(ended_sessions.c.id).where(ended_sessions.c.ended_at >= since)
    return frozenset(tx.execute(recent).scalars())


def prune(tx: sa.Connection, before: datetime, limit: int) -> int:
    """Remove sessions that ended before then, at most ``limit``; return how many."""
    old = sa.select(ended_sessions.c.id).where(ended_sessions.c.ended_at < before).limit(limit)
    return int(tx.execute(ended_sessions.delete().where(ended_sessions.c.id.in_(old))).rowcount)
