"""The project's terms as types: frozen values without I/O.

Times are aware datetimes in UTC. Nothing here depends on the database, HTTP or the configuration file.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

Json: TypeAlias = dict[str, Any]

MASK = "***"
SUCCESS = range(200, 300)  # HTTP statuses
REFUSALS = (400, 409, 413, 415, 422)  # statuses that reject one message and say nothing about the target
CLOCK_TOLERANCE = timedelta(minutes=2)  # receivers that check signatures accept a difference of five minutes at most
PAUSED_BY_HAND = "paused by hand"  # a reason for a target's pause; the other reasons are responses of the target


class IncidentStatus(enum.StrEnum):
    """The states of an incident, as PagerDuty names them."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class DetectedBy(enum.StrEnum):
    """The way in which an event was detected."""

    LOG_ENTRY = "log_entry"
    RECONCILIATION = "reconciliation"


class DeliveryState(enum.StrEnum):
    """pending -> delivered | dead."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class ReplayState(enum.StrEnum):
    """running -> finished | cancelled."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class ActionState(enum.StrEnum):
    """queued -> running -> succeeded | failed; back to queued for a retry."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Outcome(enum.StrEnum):
    """The outcome of an action that succeeded: it took effect, had no effect, or the incident was already resolved."""

    DONE = "done"
    ALREADY_DONE = "already_done"
    OVERTAKEN = "overtaken"


class CallPriority(enum.IntEnum):
    """The priority of a call when permits are short; a lower number goes first."""

    ACTION = 0
    POLL = 1
    RECONCILIATION = 2


class Order(enum.StrEnum):
    """The order in which a target receives messages: those of an incident one after the other, or none."""

    PER_INCIDENT = "per-incident"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record of GET /log_entries, read leniently.

    ``incident`` is the embedded incident as of the time of reading, or a mere reference. ``assignees`` is None if the
    record has no such field. ``raw`` is the record itself, without ``incident`` and without personal contact data.
    """

    id: str
    type: str
    created_at: datetime
    incident_id: str
    incident: Json
    agent: Json | None
    assignees: tuple[Json, ...] | None
    note: str | None
    raw: Json


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record from PagerDuty that cannot be parsed: the reason, and its raw text."""

    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class ExpectedEntry:
    """A log entry whose event was recorded before the entry was read. The entry must not create a second event.

    It is recognised by the event's type, a time from ``since`` to ``until``, and ``keys``: the users of an assignment
    or the digest of a note.
    """

    type: str
    since: datetime
    until: datetime
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last known state of an incident.

    ``created``, ``status`` and ``assigned`` are what receivers know from the events so far: whether the incident
    exists, its status since ``status_at``, and when each user was last named as assignee. They may lag behind
    ``incident``, PagerDuty's resource as read at ``read_at``.
    """

    incident_id: str
    created: bool
    status: IncidentStatus
    status_at: datetime
    assigned: tuple[tuple[str, datetime], ...]
    incident: Json
    read_at: datetime
    expected: tuple[ExpectedEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an incident, recorded once.

    ``payload`` has the keys ``agent``, ``incident``, ``assignees`` (None unless assigned),
    ``note`` (None unless annotated), ``changes`` (None unless the log entry has details of a change),
    ``details`` (what the alert said; None unless triggered)
    and ``log_entry`` (the record's id, type and channel; None for events detected by reconciliation).
    """

    id: str
    type: str
    connection: str
    incident_id: str
    occurred_at: datetime
    detected_at: datetime
    detected_by: DetectedBy
    payload: Json


@dataclass(frozen=True, slots=True)
class Action:
    """A queued request to change or read PagerDuty.

    ``incident_id`` is the incident that it changes, if any: actions on one incident run one after the other.
    ``write_began_at`` is the time just before the first call that changes something, ``before`` the incident at that
    time: a run repeated after it first checks whether the change was made. ``error`` has the keys ``code``,
    ``message`` and perhaps ``status`` and ``pagerduty_code``; a queued action has one after a failed run. ``secret``
    names the parameters that are never shown.
    """

    id: str
    operation: str
    connection: str
    parameters: Json
    secret: tuple[str, ...]
    incident_id: str | None
    notify: tuple[str, ...]
    state: ActionState
    created_at: datetime
    runs: int = 0
    started_at: datetime | None = None
    write_began_at: datetime | None = None
    before: Json | None = None
    outcome: Outcome | None = None
    result: Json | None = None
    error: Json | None = None
    finished_at: datetime | None = None

    @property
    def shown_parameters(self) -> Json:
        """Return the parameters, with secret values masked."""
        return {name: MASK if name in self.secret else value for name, value in self.parameters.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """Several events that a trigger sends in one message, in the journal's order."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """A message about pagerelay itself, such as ``target.failing``. ``data`` is JSON."""

    type: str
    at: datetime
    data: Json


@dataclass(frozen=True, slots=True)
class Message:
    """An event or a batch of them as one trigger sends it, the outcome of an action, or an alert.

    ``id`` is the ``webhook-id``, ``type`` a name such as ``incident.resolved`` or ``action.failed``. ``trigger`` is
    empty for actions and alerts.
    """

    id: str
    trigger: str
    type: str
    about: Event | Batch | Action | Alert


@dataclass(frozen=True, slots=True)
class Content:
    """A message rendered for one target: the same bytes in every attempt.

    ``subject`` is the id of what it is about, only where traces are written.
    """

    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    subject: str = ""


class Delivery(NamedTuple):
    """One message for one target, claimed by this process.

    ``attempts`` counts the attempts since ``begun_at``, when the horizon started. ``replayed`` deliveries are sent once
    more, by a replay or by hand.
    """

    id: int
    message_id: str
    target: str
    incident_id: str
    attempts: int
    begun_at: datetime
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target's state, shared by all daemons.

    Nothing is sent while ``paused_at`` is set, nor before ``blocked_until``, the end of the pause that the target
    requested. ``failing_since`` means that its circuit breaker is open: one delivery at a time probes the target, not
    before ``probe_at``, which is also the lease of a running probe. ``probes`` counts those that failed.
    ``refusing_since`` means that it has rejected every message since then, which stops nothing.
    """

    paused_at: datetime | None = None
    paused_reason: str | None = None
    failing_since: datetime | None = None
    probe_at: datetime | None = None
    probes: int = 0
    blocked_until: datetime | None = None
    last_error: str | None = None
    last_success_at: datetime | None = None
    refusing_since: datetime | None = None

    @property
    def ready_at(self) -> datetime | None:
        """Return when a delivery may be sent next; None means at any time."""
        times = [self.blocked_until, self.probe_at if self.failing_since is not None else None]
        return max((at for at in times if at is not None), default=None)

    def is_blocked(self, now: datetime) -> bool:
        """Return whether a pause requested by the target is in effect."""
        return self.blocked_until is not None and now < self.blocked_until

    def must_wait(self, now: datetime) -> bool:
        """Return whether the target is blocked, or its next probe is not due."""
        return self.ready_at is not None and now < self.ready_at


@dataclass(frozen=True, slots=True)
class TargetChange:
    """A change of a target's state by one daemon, to be recorded for all daemons.

    ``circuit`` has the new ``failing_since``, ``probe_at``, ``probes`` and ``last_error``; None means unchanged. It is
    based on ``known_failing_since``, the value last read or recorded. ``gone_at``: the target responded with 410 and is
    paused with ``gone_reason``. ``recovered``: its pending deliveries are due. ``expire_before``: deliveries pending
    since before then expire. ``refusing_since``: it rejects every message, with ``refusal``; a success ends that.
    """

    success_at: datetime | None = None
    circuit: TargetState | None = None
    known_failing_since: datetime | None = None
    blocked_until: datetime | None = None
    gone_at: datetime | None = None
    gone_reason: str = ""
    recovered: bool = False
    expire_before: datetime | None = None
    refusing_since: datetime | None = None
    refusal: str | None = None

    @property
    def is_urgent(self) -> bool:
        """Return whether the change is more than the time of the last success."""
        return self.circuit is not None or self.blocked_until is not None or self.refusing_since is not None
