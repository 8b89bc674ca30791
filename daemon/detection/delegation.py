"""Assignments that belong to a delegation. Pure, from the entries of one incident and second."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from daemon.model import LogEntry

AUTOMATIC = "auto"
DELEGATION = "delegate_log_entry"
ASSIGNMENT = "assign_log_entry"


def parts(entries: Iterable[LogEntry]) -> Mapping[str, list[LogEntry]]:
    """Return, by the id of each delegation, the assignments that carry it out. The entries are in order of time.

    Such an assignment comes after its delegation, is not made by a person, and names users of the delegation that
    no earlier one named. If one of the two records does not name anybody, the assignment must be automatic.
    """
    assignments: defaultdict[str, list[LogEntry]] = defaultdict(list)
    waiting: dict[str, set[str] | None] = {}
    for entry in entries:
        users = {each["id"] for each in entry.assignees or ()}
        if entry.type == DELEGATION:
            waiting[entry.id] = users or None
        elif entry.type == ASSIGNMENT and (delegation := _delegation_of(entry, users, waiting)) is not None:
            assignments[delegation].append(entry)
            waiting[delegation] = (named - users) if (named := waiting[delegation]) is not None else None
    return assignments


def _delegation_of(entry: LogEntry, users: set[str], waiting: Mapping[str, set[str] | None]) -> str | None:
    channel = lenient_json.get_text(lenient_json.get_object(entry.raw, "channel"), "type")
    for delegation, named in waiting.items():
        if (users <= named and channel in {None, AUTOMATIC}) if named is not None and users else channel == AUTOMATIC:
            return delegation
    return None
