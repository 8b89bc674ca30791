"""Targets, held by hand: paused, so that what is for them waits, and resumed.

Plain functions on an open transaction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.model import PAUSED_BY_HAND
from daemon.schema import targets

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa


def pause(tx: sa.Connection, name: str, now: datetime) -> None:
    """Send nothing to a target until it is resumed. One that is paused already stays so, for its own reason."""
    running = (targets.c.name == name) & targets.c.paused_at.is_(None)
    tx.execute(targets.update().where(running).values(paused_at=now, paused_reason=PAUSED_BY_HAND))


def resume(tx: sa.Connection, name: str) -> None:
    """Send to a target again, at once, as if it had never failed."""
    fresh = {"paused_at": None, "paused_reason": None, "failing_since": None, "probe_at": None, "probes": 0}
    tx.execute(targets.update().where(targets.c.name == name).values(fresh))
