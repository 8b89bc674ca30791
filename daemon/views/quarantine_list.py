"""PagerDuty's records that could not be understood."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - a field's type

import sqlalchemy as sa

from daemon.storage.schema import quarantine
from daemon.views import rows


@dataclass(frozen=True, slots=True)
class QuarantinedRecord:
    """A record as PagerDuty sent it, and why it was set aside."""

    found_at: datetime
    reason: str
    raw: str


def read(tx: sa.Connection, connection: str, limit: int) -> list[QuarantinedRecord]:
    """Return a connection's newest records, the newest first."""
    mine = sa.select(quarantine).where(quarantine.c.connection == connection)
    newest = tx.execute(mine.order_by(quarantine.c.id.desc()).limit(limit))
    return [rows.as_value(QuarantinedRecord, row) for row in newest]
