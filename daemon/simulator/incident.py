"""The data of a simulated account: incidents, notes, log entries, and the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from daemon.model import IncidentStatus

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.simulator.directory import Policy, Priority, Service, User

NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the ledger: what a perfect observer would report.

    ``entry_id`` is the log entry that reports it, empty if none does. ``users`` are the assignees of an assignment.
    """

    seq: int
    at: datetime
    type: str
    incident_id: str
    entry_id: str
    users: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Effect:
    """One change. ``who`` is the id of the requester, or of the service that received an event.

    ``detail`` distinguishes it from others of its kind: the text of a note, the new assignees, an incident key.
    """

    seq: int
    at: datetime
    method: str
    path: str
    incident_id: str
    what: str
    who: str
    detail: str | None
    reopened: bool


@dataclass(slots=True)
class Note:
    """A note on an incident."""

    id: str
    user: User
    content: str
    at: datetime


@dataclass(slots=True)
class Incident:
    """The current state of an incident. ``level`` counts from 0; ``agent`` last changed its status.

    ``acknowledged`` has None for an acknowledgement by the service. ``fields`` are custom fields,
    ``more`` are further fields of its resource.
    """

    id: str
    number: int
    title: str
    service: Service
    policy: Policy
    urgency: str
    key: str | None
    created_at: datetime
    updated_at: datetime
    changed_at: datetime
    agent: Json
    status: IncidentStatus = IncidentStatus.TRIGGERED
    level: int = 0
    assigned: list[tuple[User, datetime]] = field(default_factory=list)
    acknowledged: list[tuple[User | None, datetime]] = field(default_factory=list)
    resolved_at: datetime | None = None
    first_entry: str = ""
    priority: Priority | None = None
    snoozed_until: datetime | None = None
    merged_into: Incident | None = None
    notes: list[Note] = field(default_factory=list)
    fields: dict[str, object] = field(default_factory=dict)
    conference_bridge: Json | None = None
    more: Json = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Return whether it is triggered or acknowledged."""
        return self.status is not IncidentStatus.RESOLVED


@dataclass(slots=True)
class Entry:
    """One log entry. Readers see it from ``visible_at`` on; ``odd`` replaces parts of its record."""

    id: str
    seq: int
    type: str
    created_at: datetime
    incident: Incident
    agent: Json | None
    channel: Json
    assignees: tuple[User, ...] | None = None
    more: Json = field(default_factory=dict)
    odd: Json = field(default_factory=dict)
    visible_at: datetime = NEVER
