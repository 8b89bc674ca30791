"""The health of connections, triggers and targets in one word."""

from __future__ import annotations

import enum


class Health(enum.StrEnum):
    """The health of a connection, trigger or target, from the best to the worst."""

    OK = "ok"
    WAITING = "waiting"  # nothing has happened yet
    BEHIND = "behind"
    BLOCKED = "blocked"
    PAUSED = "paused"
    LATE = "late"
    FAILING = "failing"
