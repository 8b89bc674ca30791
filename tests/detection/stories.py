"""Log entries and incidents for tests of detection, as PagerDuty writes them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from daemon import detection
from daemon.model import LogEntry, Snapshot
from tests.conftest import START

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.detection import Detection
    from daemon.model import Json

HISTORY = START - timedelta(hours=1)


def user(user_id: str) -> Json:
    """Return a reference to a user."""
    return {"id": user_id, "type": "user_reference", "summary": user_id.title()}


def iso(at: datetime) -> str:
    """Return a time as PagerDuty writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Story:
    """The log of one account, written entry by entry in order."""

    entries: list[LogEntry] = field(default_factory=list)
    incidents: dict[str, Json] = field(default_factory=dict)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def incident(self, incident_id: str, at: float = 0.0, **more: Any) -> Json:
        """Return an incident as currently read; ``at`` is the second of its creation."""
        created = iso(START + timedelta(seconds=at))
        whole = {
            "id": incident_id,
            "type": "incident",
            "status": "triggered",
            "created_at": created,
            "summary": incident_id,
        }
        self.incidents[incident_id] = whole | more
        return self.incidents[incident_id]

    def entry(
        self,
        kind: str,
        at: float,
        *users: str,
        incident: str = "P1",
        note: str | None = None,
        channel: str = "website",
        agent: str = "PAGENT",
    ) -> LogEntry:
        """Write ``<kind>_log_entry`` at a second; the first trigger of an incident creates it."""
        if incident not in self.incidents:
            self.incident(incident, at)
        entry_id = f"R{next(self._ids)}"
        if kind == "trigger" and "first_trigger_log_entry" not in self.incidents[incident]:
            self.incidents[incident]["first_trigger_log_entry"] = {"id": entry_id}
        record = LogEntry(
            id=entry_id,
            type=f"{kind}_log_entry",
            created_at=(START + timedelta(seconds=at)).replace(microsecond=0),
            incident_id=incident,
            incident=self.incidents[incident],
            agent=user(agent),
            assignees=tuple(user(each) for each in users) if users else None,
            note=note,
            raw={"channel": {"type": channel}},
        )
        self.entries.append(record)
        return record


@dataclass
class Reader:
    """Reads a log repeatedly as a connection does, keeping its state."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    history: datetime = HISTORY
    now: datetime = START

    def read(self, entries: Sequence[LogEntry]) -> list[str]:
        """Read a window, passed in order of time; return its events as ``incident kind``."""
        newest_first = list(reversed(entries))
        return self._take(
            detection.read(
                "acme", self.snapshots, newest_first, self.seen, history=self.history, read_at=self.now, now=self.now
            )
        )

    def reconcile(self, incidents: Mapping[str, Json | None], *, settled: datetime | None = None) -> list[str]:
        """Compare with the current incidents; by default all changes are settled."""
        self.now += timedelta(seconds=1)
        return self._take(
            detection.reconcile(
                "acme",
                self.snapshots,
                incidents.items(),
                history=self.history,
                settled=settled or START + timedelta(days=1),
                read_at=self.now,
                now=self.now,
            )
        )

    def _take(self, result: Detection) -> list[str]:
        self.snapshots.update({each.incident_id: each for each in result.snapshots})
        self.seen.update(result.seen)
        told = [f"{event.incident_id} {event.type.removeprefix('incident.')}" for event in result.events]
        self.told += told
        self.ids += [event.id for event in result.events]
        return told
