"""When a connection counts as polled lately, and what is not ready."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.storage.schema import connections

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from daemon.settings import Connection, Trigger

MISSED_POLLS = 3
LEAST_PATIENCE = timedelta(seconds=3)


def poll_interval(connection: Connection, triggers: Iterable[Trigger]) -> timedelta:
    """How often a connection is polled: as often as its most eager trigger asks, within its limit."""
    every = [trigger.every for trigger in triggers if trigger.connection == connection.name]
    return max(connection.limits.poll_interval, min(every, default=connection.limits.poll_interval))


def patience(connection: Connection, triggers: Iterable[Trigger]) -> timedelta:
    """How old a connection's last success may be while it counts as polled."""
    return max(poll_interval(connection, triggers) * MISSED_POLLS, LEAST_PATIENCE)


def unready(
    tx: sa.Connection, configured: Mapping[str, Connection], triggers: Iterable[Trigger], now: datetime
) -> list[str]:
    """One line for each connection that was not polled with success within three intervals; none: all is ready."""
    every = list(triggers)
    columns = connections.c.name, connections.c.last_success_at, connections.c.last_error
    found = {row.name: row for row in tx.execute(sa.select(*columns))}
    lines = []
    for name, connection in configured.items():
        row = found.get(name)
        if row is None or row.last_success_at is None:
            lines.append(f"connection {name}: not polled yet{_reason(row)}")
        elif now - row.last_success_at > patience(connection, every):
            seconds = (now - row.last_success_at).total_seconds()
            lines.append(f"connection {name}: not polled for {seconds:.0f} s{_reason(row)}")
    return lines


def _reason(row: Any) -> str:  # noqa: ANN401 - a row of the connections table, or none
    return f" ({row.last_error})" if row is not None and row.last_error else ""
