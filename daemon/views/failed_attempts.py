"""The last failed attempts of targets, with the beginning of what the receivers responded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.storage import sql
from daemon.storage.schema import attempts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LONGEST = 200  # characters of a response; the delivery has more


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A target's last failed attempt, and its delivery. ``answer`` is the beginning of the response, on one line."""

    delivery: int
    at: datetime
    status: int | None
    error: str
    answer: str | None


def read(tx: sa.Connection, rows: Mapping[str, Any], names: Collection[str]) -> dict[str, FailedAttempt]:
    """Return the last failed attempt of each of these targets that has had no success since, while it is kept.

    ``rows`` has their rows by name.
    """
    deliveries = {rows[name].last_failed: name for name in names if rows[name].last_failed is not None}
    if not deliveries:
        return {}
    mine = sql.among(tx, attempts.c.delivery_id, deliveries), attempts.c.error.is_not(None)
    last = sa.select(sa.func.max(attempts.c.id)).where(*mine).group_by(attempts.c.delivery_id)
    failures = {}
    for row in tx.execute(sa.select(attempts).where(attempts.c.id.in_(last))):
        name = deliveries[row.delivery_id]
        success_at = rows[name].last_success_at
        if success_at is None or row.at > success_at:
            failures[name] = FailedAttempt(row.delivery_id, row.at, row.status, row.error, _shortened(row.answer))
    return failures


def _shortened(answer: str | None) -> str | None:
    """Return the beginning of a response body; None if nothing is in it."""
    line = " ".join((answer or "").split())
    return (line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…") or None
