"""The health of connections, triggers and targets in one word."""

from __future__ import annotations

import enum


class Health(enum.StrEnum):
    """How a connection, trigger or target is doing, from the best to the worst."""

    OK = "ok"
    WAITING = "waiting"  # nothing has happened yet
    BEHIND = "behind"
    BLOCKED = "blocked"
    PAUSED = "paused"
    LATE = "late"
    FAILING = "failing"
