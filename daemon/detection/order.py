"""The order in which the entries of a window happened. Pure.

The events of one window come in the order of PagerDuty's times (whole seconds) and, within a second, in
the reverse of the list's order, with the creating entry of an incident before its other entries of that second.
Windows follow one another, so the order holds across windows too, except for an entry that PagerDuty
shows late: its event is sent when it is found, after those that were sent before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from daemon.model import LogEntry


def in_order(entries: Sequence[LogEntry]) -> list[LogEntry]:
    """Return the entries, listed newest first, in the order in which they happened."""
    rank = {id(entry): -position for position, entry in enumerate(entries)}
    first: dict[tuple[str, datetime], int] = {}
    for entry in entries:
        group = (entry.incident_id, entry.created_at)
        first[group] = min(rank[id(entry)], first.get(group, 0))

    def key(entry: LogEntry) -> tuple[datetime, int, int]:
        if is_creating(entry):
            return entry.created_at, first[entry.incident_id, entry.created_at], 0
        return entry.created_at, rank[id(entry)], 1

    return sorted(entries, key=key)


def is_creating(entry: LogEntry) -> bool:
    """Return whether its incident names the entry as the one that created it."""
    first = lenient_json.get_object(entry.incident, "first_trigger_log_entry")
    return lenient_json.get_text(first, "id") == entry.id
