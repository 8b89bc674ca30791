"""From log entries to events. Nothing here looks at an incident's present state to guess what happened.

The order that is promised: the events of one reading come in the order in which they
happened, by PagerDuty's times (whole seconds) and, within a second, by the reverse of
the list's order, with the creating entry of an incident before its other entries of that
second. Readings follow one another, so the order holds across readings too, except for an
entry that PagerDuty shows late: it is sent when it is found, after what was sent before.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon import ids
from daemon.detection import changes, delegation
from daemon.detection.events import (
    Detection,
    Occurrence,
    adopted,
    event,
    unknown,
    with_assigned,
    with_status,
)
from daemon.model import Announced, DetectedBy, EventType, Snapshot, Status
from daemon.text import iso
from daemon.triggers import REGISTRY, lenient_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Event, Json, LogEntry

EVENT_TYPES: dict[str, EventType] = {record: kind.type for kind in REGISTRY.values() for record in kind.log_entry_types}
SAME_NOTE = timedelta(seconds=1)  # how far apart a resolution and the entry of its own note can be
CREATION_APART = timedelta(seconds=1)  # how far apart an incident's time and that of its creating entry can be
ANNOUNCED_KEPT = 50


def baseline(
    entries: Sequence[LogEntry], incidents: Mapping[str, Json], *, baseline_at: datetime, read_at: datetime
) -> Detection:
    """What a connection's first poll stores: every entry as seen, every open incident as known. No events.

    The incidents are listed after the log was read (up to ``baseline_at``). One that was created in
    between is not known yet: its entries are still to come, and with them its events.
    """
    in_log = {entry.incident_id for entry in entries}
    snapshots = tuple(
        adopted(incident_id, incident, read_at)
        for incident_id, incident in incidents.items()
        if incident_id in in_log or not _is_younger(incident, baseline_at)
    )
    return Detection((), snapshots, tuple(dict.fromkeys(entry.id for entry in entries)))


def _is_younger(incident: Json, baseline_at: datetime) -> bool:
    """Whether its creating entry can be from after the reading; the two times may differ by a second."""
    created_at = lenient_json.get_time(incident, "created_at")
    return created_at is not None and created_at >= baseline_at - CREATION_APART


def read(
    connection: str,
    snapshots: Mapping[str, Snapshot],
    entries: Sequence[LogEntry],
    seen: Collection[str],
    *,
    history: datetime,
    read_at: datetime,
    now: datetime,
) -> Detection:
    """What the entries of one window (in the list's order, newest first) tell that was not known.

    ``snapshots`` are those of the entries' incidents, ``seen`` the entry ids read before.
    What happened before ``history`` is known to be told or not to be sent at all.
    ``read_at`` is when reading began, ``now`` becomes the events' ``detected_at``.
    """
    reading = _Reading(connection, dict(snapshots), in_order(entries), set(seen), history, read_at, now)
    return reading.run()


def in_order(entries: Sequence[LogEntry]) -> list[LogEntry]:
    """The entries in the order in which they happened; see the module's docstring."""
    rank = {id(entry): -position for position, entry in enumerate(entries)}
    first: dict[tuple[str, datetime], int] = {}
    for entry in entries:
        group = (entry.incident_id, entry.created_at)
        first[group] = min(rank[id(entry)], first.get(group, 0))

    def key(entry: LogEntry) -> tuple[datetime, int, int]:
        if _is_first(entry):
            return entry.created_at, first[entry.incident_id, entry.created_at], 0
        return entry.created_at, rank[id(entry)], 1

    return sorted(entries, key=key)


def _is_first(entry: LogEntry) -> bool:
    return lenient_json.get_text(lenient_json.get_object(entry.incident, "first_trigger_log_entry"), "id") == entry.id


class _Reading:
    """One window being read: the snapshots as they change, the events as they are found."""

    def __init__(
        self,
        connection: str,
        snapshots: dict[str, Snapshot],
        entries: list[LogEntry],
        seen: set[str],
        history: datetime,
        read_at: datetime,
        now: datetime,
    ) -> None:
        self._connection = connection
        self._snapshots = snapshots
        self._entries = entries
        self._seen = seen
        self._history = history
        self._read_at = read_at
        self._now = now
        self._events: list[Event] = []
        by_moment: defaultdict[tuple[str, datetime], list[LogEntry]] = defaultdict(list)
        for entry in entries:
            by_moment[entry.incident_id, entry.created_at].append(entry)
        self._parts = {key: parts for each in by_moment.values() for key, parts in delegation.carried_out(each).items()}
        self._are_parts = {part.id for parts in self._parts.values() for part in parts}

    def run(self) -> Detection:
        """Take every new entry in its turn."""
        fresh: dict[str, None] = {}
        changed: dict[str, None] = {}
        for entry in self._entries:
            if entry.id in self._seen or entry.id in fresh:
                continue
            fresh[entry.id] = None
            if entry.created_at < self._history:
                continue
            changed[entry.incident_id] = None
            self._snapshots[entry.incident_id] = self._take(entry, self._known(entry))
        return Detection(tuple(self._events), tuple(self._snapshots[incident] for incident in changed), tuple(fresh))

    def _known(self, entry: LogEntry) -> Snapshot:
        """The snapshot before this entry, with the incident as it was embedded in it.

        An incident and its creating entry may name times that differ by a second: the entry's counts.
        """
        snapshot = self._snapshots.get(entry.incident_id)
        if snapshot is None:
            created_at = lenient_json.get_time(entry.incident, "created_at")
            if created_at is not None and created_at < self._history and not _is_first(entry):
                return adopted(entry.incident_id, entry.incident, self._read_at)
            return unknown(entry.incident_id, entry.incident, self._read_at, entry.created_at)
        if self._read_at < snapshot.read_at:
            return snapshot
        whole = lenient_json.status(entry.incident) is not None or lenient_json.status(snapshot.incident) is None
        return replace(snapshot, incident=entry.incident if whole else snapshot.incident, read_at=self._read_at)

    def _take(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        kind = EVENT_TYPES.get(entry.type)
        if kind is None:
            return snapshot
        handler = self._handlers.get(kind)
        return self._tell(entry, snapshot, kind) if handler is None else handler(self, entry, snapshot)

    def _triggered(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        """A creating entry; any other is a repeated trigger event on an incident that exists."""
        told_first = lenient_json.get_text(lenient_json.get_object(snapshot.incident, "first_trigger_log_entry"), "id")
        if snapshot.created or (told_first is not None and told_first != entry.id):
            return snapshot
        self._emit(entry, snapshot, EventType.TRIGGERED)
        return replace(with_status(snapshot, Status.TRIGGERED, entry.created_at), created=True)

    def _acknowledged(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        snapshot = self._tell(entry, snapshot, EventType.ACKNOWLEDGED)
        return with_status(snapshot, Status.ACKNOWLEDGED, entry.created_at)

    def _unacknowledged(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        snapshot = self._tell(entry, snapshot, EventType.UNACKNOWLEDGED)
        return with_status(snapshot, Status.TRIGGERED, entry.created_at)

    def _reopened(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        snapshot = self._tell(entry, snapshot, EventType.REOPENED)
        return with_status(snapshot, Status.TRIGGERED, entry.created_at)

    def _resolved(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        """A resolution, and before it the note that it may carry."""
        if entry.note:
            snapshot = self._note_of_resolution(entry, snapshot, entry.note)
        snapshot = self._tell(entry, snapshot, EventType.RESOLVED)
        return with_status(snapshot, Status.RESOLVED, entry.created_at)

    def _note_of_resolution(self, entry: LogEntry, snapshot: Snapshot, content: str) -> Snapshot:
        """Send the note, unless an entry of its own carries it; that one may also come later."""
        for other in self._entries:
            if (
                other.incident_id == entry.incident_id
                and EVENT_TYPES.get(other.type) is EventType.ANNOTATED
                and other.note == content
                and abs(other.created_at - entry.created_at) <= SAME_NOTE
            ):
                return snapshot
        self._emit(entry, snapshot, EventType.ANNOTATED, note=_note(entry))
        since, until = entry.created_at - SAME_NOTE, entry.created_at + SAME_NOTE
        return with_announced(snapshot, Announced(EventType.ANNOTATED, since, until, (ids.digest(content),)))

    def _annotated(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        marks = (ids.digest(entry.note),) if entry.note else ()
        return self._tell(entry, snapshot, EventType.ANNOTATED, marks=marks, note=_note(entry))

    def _assigned(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        """An assignment, escalation or delegation; an assign that only carries out a delegation is none."""
        if entry.id in self._are_parts:
            return with_assigned(snapshot, _ids(entry.assignees), entry.created_at)
        assignees = list(entry.assignees or ())
        if parts := self._parts.get(entry.id):
            assignees = assignees or [one for each in parts for one in each.assignees or ()]
            told = {user for each in parts if each.id in self._seen for user in _ids(each.assignees)}
            if told and told >= set(_ids(assignees)):
                return snapshot
        users = _ids(assignees)
        snapshot = self._tell(entry, snapshot, EventType.ASSIGNED, marks=users, assignees=assignees)
        return with_assigned(snapshot, users, entry.created_at)

    def _tell(
        self,
        entry: LogEntry,
        snapshot: Snapshot,
        kind: EventType,
        *,
        marks: tuple[str, ...] = (),
        assignees: Sequence[Json] | None = None,
        note: Json | None = None,
    ) -> Snapshot:
        """Send the event, unless it was announced before this entry came.

        An entry uses up the marks that it names; one that names none, because the record has
        none, uses up one: what else was announced still waits for an entry of its own.
        """
        for announced in snapshot.announced:
            in_time = announced.since <= entry.created_at <= announced.until
            if announced.type is kind and in_time and set(marks) <= set(announced.marks):
                rest = tuple(each for each in snapshot.announced if each is not announced)
                left = tuple(mark for mark in announced.marks if mark not in marks) if marks else announced.marks[1:]
                return replace(snapshot, announced=(*rest, replace(announced, marks=left)) if left else rest)
        self._emit(entry, snapshot, kind, assignees=assignees, note=note)
        return snapshot

    def _emit(
        self,
        entry: LogEntry,
        snapshot: Snapshot,
        kind: EventType,
        *,
        assignees: Sequence[Json] | None = None,
        note: Json | None = None,
    ) -> None:
        occurrence = Occurrence(
            kind,
            entry.created_at,
            entry.id,
            agent=entry.agent,
            assignees=assignees,
            note=note,
            changes=changes.told(kind, entry),
            log_entry={"id": entry.id, "type": entry.type, "channel": lenient_json.get_text(_channel(entry), "type")},
        )
        self._events.append(event(self._connection, snapshot, occurrence, self._now, DetectedBy.LOG_ENTRY))

    _handlers: dict[EventType, Callable[[_Reading, LogEntry, Snapshot], Snapshot]] = {  # noqa: RUF012 - a constant table
        EventType.TRIGGERED: _triggered,
        EventType.ASSIGNED: _assigned,
        EventType.ACKNOWLEDGED: _acknowledged,
        EventType.UNACKNOWLEDGED: _unacknowledged,
        EventType.RESOLVED: _resolved,
        EventType.REOPENED: _reopened,
        EventType.ANNOTATED: _annotated,
    }


def with_announced(snapshot: Snapshot, announced: Announced) -> Snapshot:
    """The snapshot that waits for one more late entry."""
    return replace(snapshot, announced=(*snapshot.announced, announced)[-ANNOUNCED_KEPT:])


def _channel(entry: LogEntry) -> Json:
    return lenient_json.get_object(entry.raw, "channel")


def _ids(assignees: Sequence[Json] | None) -> tuple[str, ...]:
    return tuple(assignee["id"] for assignee in assignees or ())


def _note(entry: LogEntry) -> Json:
    """The note as the connector's AddNoteResponse has it; its own id is not in the log."""
    user = lenient_json.get_text(entry.agent, "id")
    return {
        "id": None,
        "content": entry.note,
        "user": {"id": user} if user else None,
        "created_at": iso(entry.created_at),
    }
