"""Events from log entries. Nothing here infers events from an incident's current state."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon import ids
from daemon.detection import comparison, delegation, expected, order
from daemon.detection.events import Detection, Occurrence, event, existing, first_seen, with_assigned, with_status
from daemon.model import DetectedBy, ExpectedEntry, Snapshot
from daemon.text import iso
from daemon.triggers import (
    BY_LOG_ENTRY,
    alert_details,
    annotated,
    assigned,
    is_known,
    lenient_json,
    resolved,
    triggered,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Event, Json, LogEntry
    from daemon.triggers.event_type import EventType

SAME_NOTE = timedelta(seconds=1)  # how far a resolution and the entry of its own note can be apart
CREATION_APART = timedelta(seconds=1)  # how far an incident's time and that of its creating entry can be apart


def baseline(
    entries: Sequence[LogEntry], incidents: Mapping[str, Json], *, baseline_at: datetime, read_at: datetime
) -> Detection:
    """Return what a connection's first poll stores: every entry as seen, every open incident as known. No events.

    The incidents are listed after the log was read (up to ``baseline_at``). One that was created in
    between is not known yet: its entries are still to come, and with them its events.
    """
    in_log = {entry.incident_id for entry in entries}
    snapshots = tuple(
        existing(incident_id, incident, read_at)
        for incident_id, incident in incidents.items()
        if incident_id in in_log or not _is_younger(incident, baseline_at)
    )
    new = {entry.id: entry for entry in entries}
    return Detection((), snapshots, tuple(new), _unknown_types(new.values()))


def _unknown_types(entries: Iterable[LogEntry]) -> Counter[str]:
    return Counter(entry.type for entry in entries if not is_known(entry.type))


def _is_younger(incident: Json, baseline_at: datetime) -> bool:
    """Return whether its creating entry can be younger than the baseline; the two times may differ by a second."""
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
    """Return the events of the new entries of one window, passed in list order, newest first.

    The incidents that are embedded in them are compared with their snapshots as well.
    ``snapshots`` are those of the new entries' incidents, ``seen`` the ids of entries that were read before.
    Entries from before ``history`` are never sent.
    ``read_at`` is when reading began, ``now`` becomes the events' ``detected_at``.
    """
    return _Window(connection, dict(snapshots), order.in_order(entries), set(seen), history, read_at, now).detect()


class _Window:
    """One window: its snapshots and events while they are computed."""

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
        self._compared: list[Event] = []
        by_second: defaultdict[tuple[str, datetime], list[LogEntry]] = defaultdict(list)
        for entry in entries:
            by_second[entry.incident_id, entry.created_at].append(entry)
        self._parts = {key: parts for each in by_second.values() for key, parts in delegation.parts(each).items()}
        self._are_parts = {part.id for parts in self._parts.values() for part in parts}

    def detect(self) -> Detection:
        """Process every new entry in turn."""
        new: dict[str, LogEntry] = {}
        changed: dict[str, None] = {}
        for entry in self._entries:
            if entry.id in self._seen or entry.id in new:
                continue
            new[entry.id] = entry
            if entry.created_at < self._history:
                continue
            changed[entry.incident_id] = None
            self._snapshots[entry.incident_id] = self._take(entry, self._before(entry))
        events = sorted([*self._events, *self._compared], key=lambda each: each.occurred_at)
        snapshots = tuple(self._snapshots[incident] for incident in changed)
        return Detection(tuple(events), snapshots, tuple(new), _unknown_types(new.values()))

    def _before(self, entry: LogEntry) -> Snapshot:
        """Return the snapshot before an entry, with the incident that is embedded in the entry.

        The times of an incident and of its creating entry may differ by a second: the entry's counts.
        """
        snapshot = self._snapshots.get(entry.incident_id)
        if snapshot is None:
            created_at = lenient_json.get_time(entry.incident, "created_at")
            if created_at is not None and created_at < self._history and not order.is_creating(entry):
                return existing(entry.incident_id, entry.incident, self._read_at)
            return first_seen(entry.incident_id, entry.incident, self._read_at, entry.created_at)
        if self._read_at < snapshot.read_at:
            return snapshot
        whole = lenient_json.status(entry.incident) is not None or lenient_json.status(snapshot.incident) is None
        if not whole or comparison.is_outdated(snapshot, entry.incident):
            return replace(snapshot, read_at=self._read_at)
        incident = comparison.complete(entry.incident, snapshot.incident)
        after = replace(snapshot, incident=incident, read_at=self._read_at)
        for occurrence in comparison.compare(snapshot, entry.incident, self._read_at):
            self._compared.append(event(self._connection, after, occurrence, self._now, DetectedBy.RECONCILIATION))
        return after

    def _take(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot after an entry. Four types have rules that look beyond the entry itself."""
        event_type = BY_LOG_ENTRY.get(entry.type)
        if event_type is None:
            return snapshot
        if (handle := self._handlers.get(event_type.name)) is not None:
            return handle(self, entry, snapshot)
        return _after(event_type, entry, self._send(entry, snapshot, event_type))

    def _triggered(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        """Take a creating entry; any other is a repeated trigger event on an incident that exists."""
        first = lenient_json.get_object(snapshot.incident, "first_trigger_log_entry")
        if snapshot.created or lenient_json.get_text(first, "id") not in {None, entry.id}:
            return snapshot
        self._emit(entry, snapshot, triggered.TYPE)
        return replace(_after(triggered.TYPE, entry, snapshot), created=True)

    def _resolved(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        """Take a resolution, and before it the note that it may carry."""
        if entry.note and not self._has_note_of_its_own(entry):
            self._emit(entry, snapshot, annotated.TYPE, note=_note(entry))
            since, until = entry.created_at - SAME_NOTE, entry.created_at + SAME_NOTE
            note = ExpectedEntry(annotated.TYPE.name, since, until, (ids.digest(entry.note),))
            snapshot = expected.expect(snapshot, note)
        return _after(resolved.TYPE, entry, self._send(entry, snapshot, resolved.TYPE))

    def _has_note_of_its_own(self, entry: LogEntry) -> bool:
        """Return whether another entry of the window carries a resolution's note."""
        return any(
            other.incident_id == entry.incident_id
            and BY_LOG_ENTRY.get(other.type) is annotated.TYPE
            and other.note == entry.note
            and abs(other.created_at - entry.created_at) <= SAME_NOTE
            for other in self._entries
        )

    def _annotated(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        keys = (ids.digest(entry.note),) if entry.note else ()
        return self._send(entry, snapshot, annotated.TYPE, keys=keys, note=_note(entry))

    def _assigned(self, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
        """Take an assignment, escalation or delegation; an assignment that is part of a delegation is not an event."""
        if entry.id in self._are_parts:
            return with_assigned(snapshot, _ids(entry.assignees), entry.created_at)
        assignees = list(entry.assignees or ())
        if parts := self._parts.get(entry.id):
            assignees = assignees or [one for each in parts for one in each.assignees or ()]
            sent = {user for each in parts if each.id in self._seen for user in _ids(each.assignees)}
            if sent and sent >= set(_ids(assignees)):
                return snapshot
        users = _ids(assignees)
        snapshot = self._send(entry, snapshot, assigned.TYPE, keys=users, assignees=assignees)
        return with_assigned(snapshot, users, entry.created_at)

    def _send(
        self,
        entry: LogEntry,
        snapshot: Snapshot,
        event_type: EventType,
        *,
        keys: tuple[str, ...] = (),
        assignees: Sequence[Json] | None = None,
        note: Json | None = None,
    ) -> Snapshot:
        """Emit the event, unless it was sent before its entry came."""
        fulfilled = expected.fulfil(snapshot, event_type.name, entry.created_at, keys)
        if fulfilled is not None:
            return fulfilled
        self._emit(entry, snapshot, event_type, assignees=assignees, note=note)
        return snapshot

    def _emit(
        self,
        entry: LogEntry,
        snapshot: Snapshot,
        event_type: EventType,
        *,
        assignees: Sequence[Json] | None = None,
        note: Json | None = None,
    ) -> None:
        channel = lenient_json.get_object(entry.raw, "channel")
        changes = None if event_type.read_changes is None else event_type.read_changes(entry.raw, channel)
        occurrence = Occurrence(
            event_type.name,
            entry.created_at,
            entry.id,
            agent=entry.agent,
            assignees=assignees,
            note=note,
            changes=changes or None,
            details=alert_details.read(channel) if event_type is triggered.TYPE else None,
            log_entry={"id": entry.id, "type": entry.type, "channel": lenient_json.get_text(channel, "type")},
        )
        self._events.append(event(self._connection, snapshot, occurrence, self._now, DetectedBy.LOG_ENTRY))

    _handlers: dict[str, Callable[[_Window, LogEntry, Snapshot], Snapshot]] = {  # noqa: RUF012 - a constant table
        triggered.TYPE.name: _triggered,
        assigned.TYPE.name: _assigned,
        resolved.TYPE.name: _resolved,
        annotated.TYPE.name: _annotated,
    }


def _after(event_type: EventType, entry: LogEntry, snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with the status that such an event leads to."""
    return snapshot if event_type.status is None else with_status(snapshot, event_type.status, entry.created_at)


def _ids(assignees: Sequence[Json] | None) -> tuple[str, ...]:
    return tuple(assignee["id"] for assignee in assignees or ())


def _note(entry: LogEntry) -> Json:
    """Return the note as the connector's AddNoteResponse has it; its own id is not in the log."""
    user = lenient_json.get_text(entry.agent, "id")
    return {
        "id": None,
        "content": entry.note,
        "user": {"id": user} if user else None,
        "created_at": iso(entry.created_at),
    }
