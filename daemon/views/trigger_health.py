"""The state of the configured triggers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.storage.schema import events, triggers
from daemon.views import rows
from daemon.views.health import Health

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.settings import Trigger


@dataclass(frozen=True, slots=True)
class TriggerStatus:
    """One subscription. ``behind`` is the number of events in the journal that it has not processed yet."""

    name: str
    health: Health
    on: tuple[str, ...]
    connection: str
    to: tuple[str, ...]
    behind: int
    last_run_at: datetime | None
    last_event_at: datetime | None
    last_error: str | None


def read(tx: sa.Connection, configured: Mapping[str, Trigger]) -> tuple[TriggerStatus, ...]:
    """Return the configured triggers, in the configuration's order."""
    by_name = {row.name: row for row in rows.read_all(tx, sa.select(triggers))}
    counts: dict[tuple[str, int], int] = {}  # by watermark, which most triggers of a connection share
    statuses = []
    for name, trigger in configured.items():
        row = by_name.get(name)
        behind = 0
        if row is not None:
            watermark = (trigger.connection, row.watermark)
            if watermark not in counts:
                counts[watermark] = _events_after(tx, *watermark)
            behind = counts[watermark]
        status = rows.as_value(
            TriggerStatus,
            row,
            name=name,
            health=_health(row, behind),
            on=trigger.on,
            connection=trigger.connection,
            to=trigger.to,
            behind=behind,
        )
        statuses.append(status)
    return tuple(statuses)


def _events_after(tx: sa.Connection, connection: str, watermark: int) -> int:
    unread = (events.c.connection == connection) & (events.c.seq > watermark)
    return int(tx.execute(sa.select(sa.func.count()).select_from(events).where(unread)).scalar_one())


def _health(row: Any, behind: int) -> Health:  # noqa: ANN401 - a row of the triggers table, or None
    if row is None:
        return Health.WAITING
    if row.last_error is not None:
        return Health.FAILING
    return Health.BEHIND if behind else Health.OK
