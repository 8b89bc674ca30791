"""E-mail addresses of PagerDuty users that were looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.storage import sql
from daemon.storage.schema import users

if TYPE_CHECKING:
    from datetime import datetime


def ids_by_email(tx: sa.Connection, connection: str) -> dict[str, str]:
    """Return the PagerDuty id for each known e-mail address (lower case)."""
    rows = tx.execute(sa.select(users.c.email, users.c.user_id).where(users.c.connection == connection))
    return {row.email: row.user_id for row in rows}


def email_of(tx: sa.Connection, connection: str, user_id: str) -> str | None:
    """Return the e-mail address of a user, or None if it was never looked up."""
    emails = sa.select(users.c.email).where(users.c.connection == connection, users.c.user_id == user_id)
    email: str | None = tx.execute(emails.order_by(users.c.looked_up_at.desc()).limit(1)).scalar()
    return email


def save(tx: sa.Connection, connection: str, email: str, user_id: str, now: datetime) -> None:
    """Store the e-mail address of a user in place of an older one."""
    tx.execute(users.delete().where(users.c.connection == connection, users.c.user_id == user_id))
    tx.execute(users.delete().where(users.c.connection == connection, users.c.email == email.lower()))
    row = {"connection": connection, "email": email.lower(), "user_id": user_id, "looked_up_at": now}
    sql.insert_new(tx, users, [row])
