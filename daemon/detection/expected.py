"""Log entries that are expected because their events were sent before the entries appeared. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import ExpectedEntry, Snapshot

KEPT = 50  # expected entries per incident; the oldest are dropped


def expect(snapshot: Snapshot, entry: ExpectedEntry) -> Snapshot:
    """Return the snapshot that expects one more entry."""
    return replace(snapshot, expected=(*snapshot.expected, entry)[-KEPT:])


def fulfil(snapshot: Snapshot, event_type: str, at: datetime, keys: tuple[str, ...]) -> Snapshot | None:
    """Return the snapshot after an expected entry, or None if the entry was not expected.

    An entry uses up the keys that it names. An entry whose record lacks names uses up one key: the
    others still wait for entries of their own.
    """
    for expected in snapshot.expected:
        in_time = expected.since <= at <= expected.until
        if expected.type == event_type and in_time and set(keys) <= set(expected.keys):
            others = tuple(each for each in snapshot.expected if each is not expected)
            left = tuple(key for key in expected.keys if key not in keys) if keys else expected.keys[1:]
            return replace(snapshot, expected=(*others, replace(expected, keys=left)) if left else others)
    return None
