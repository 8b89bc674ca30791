"""The words of the project as types: frozen values without behaviour that does I/O.

Times are aware datetimes in UTC. Nothing here knows a database, HTTP or the configuration file.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    from pydantic import SecretStr

Json: TypeAlias = dict[str, Any]

MASK = "***"
REFUSALS = (400, 409, 413, 415, 422)  # statuses that refuse one message and say nothing about the target
PAUSED_BY_HAND = "paused by hand"  # why a target gets nothing; other reasons are its own answers


class EventType(enum.StrEnum):
    """What can happen to an incident."""

    TRIGGERED = "incident.triggered"
    ASSIGNED = "incident.assigned"
    ACKNOWLEDGED = "incident.acknowledged"
    UNACKNOWLEDGED = "incident.unacknowledged"
    RESOLVED = "incident.resolved"
    REOPENED = "incident.reopened"
    ANNOTATED = "incident.annotated"
    SNOOZED = "incident.snoozed"
    PRIORITY_UPDATED = "incident.priority_updated"
    URGENCY_UPDATED = "incident.urgency_updated"
    FIELD_VALUES_UPDATED = "incident.field_values.updated"
    CUSTOM_FIELD_VALUES_UPDATED = "incident.custom_field_values.updated"
    ESCALATION_REPEATED = "incident.escalation_repeated"
    ESCALATION_EXHAUSTED = "incident.escalation_exhausted"


class Status(enum.StrEnum):
    """The states of an incident, as PagerDuty names them."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class DetectedBy(enum.StrEnum):
    """How an event was found."""

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
    """queued -> running -> succeeded | failed; back to queued when it has to be tried again."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Outcome(enum.StrEnum):
    """How an action succeeded: it took effect, things were so already, or the incident was resolved before."""

    DONE = "done"
    ALREADY_DONE = "already_done"
    OVERTAKEN = "overtaken"


class Priority(enum.IntEnum):
    """Who goes first when permits are short; a lower number goes first."""

    ACTION = 0
    POLL = 1
    RECONCILIATION = 2


class Order(enum.StrEnum):
    """Whether a target wants the messages of one incident one after the other."""

    PER_INCIDENT = "per-incident"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Limits:
    """A connection's call budget: at most ``calls`` requests in any ``period``."""

    calls: int = 30
    period: timedelta = timedelta(seconds=60)
    poll_interval: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Connection:
    """One PagerDuty account: key, hosts, call budget."""

    name: str
    api_key: SecretStr
    api_url: str
    events_url: str
    limits: Limits = field(default_factory=Limits)
    overlap: timedelta = timedelta(minutes=5)
    sweep_every: timedelta = timedelta(minutes=15)
    reconcile_every: timedelta = timedelta(minutes=10)
    proxy: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most ``calls`` attempts in any ``period``, for one target."""

    calls: int
    period: timedelta


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed delivery is tried again: after ``first``, then ``factor`` times longer, up to ``max``.

    It is dead after ``horizon``.
    """

    first: timedelta = timedelta(seconds=5)
    factor: float = 3.0
    max: timedelta = timedelta(hours=8)
    horizon: timedelta = timedelta(hours=76)


@dataclass(frozen=True, slots=True)
class Options:
    """What a target's format is told besides. Each format says which of these it takes."""

    template: str | None = None
    content_mode: str | None = None
    batch: bool = False


@dataclass(frozen=True, slots=True)
class Egress:
    """Which addresses targets may have: private ones at all, or only those in ``allow``."""

    private: bool = True
    allow: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Basic:
    """A user and a password, sent with every request."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token, sent with every request."""

    token: SecretStr


@dataclass(frozen=True, slots=True)
class OAuth2:
    """Tokens that are fetched with client credentials, which go into a header or ``in_body``."""

    token_url: SecretStr
    client_id: str
    client_secret: SecretStr
    scope: str | None = None
    audience: str | None = None
    in_body: bool = False


@dataclass(frozen=True, slots=True)
class Tls:
    """Authorities that are trusted besides the system's, and a certificate with its key to show; all in PEM."""

    ca: str | None = None
    identity: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A webhook receiver. ``egress`` are the rules of the whole configuration."""

    name: str
    url: SecretStr
    secrets: tuple[SecretStr, ...]
    format: str = "standard"
    options: Options = field(default_factory=Options)
    headers: tuple[tuple[str, SecretStr], ...] = ()
    timeout: timedelta = timedelta(seconds=15)
    order: Order = Order.PER_INCIDENT
    concurrency: int = 8
    rate_limit: RateLimit | None = None
    retry: Retry = field(default_factory=Retry)
    auth: Basic | Bearer | OAuth2 | None = None
    tls: Tls | None = None
    proxy: SecretStr | None = None
    egress: Egress = field(default_factory=Egress)


@dataclass(frozen=True, slots=True)
class Where:
    """What an incident must look like for a trigger; an empty field means: any."""

    services: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    urgencies: frozenset[str] = frozenset()
    escalation_policies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trigger:
    """A configured subscription. ``user`` is a PagerDuty id or an e-mail address.

    ``on`` are the names of ``daemon.triggers`` by which it subscribes: each means events of its own.
    ``condition`` is an expression that a message must fulfil, on top of all the rest.
    """

    name: str
    on: tuple[str, ...]
    connection: str
    to: tuple[str, ...]
    every: timedelta = timedelta(seconds=30)
    user: str | None = None
    incident: str | None = None
    where: Where = field(default_factory=Where)
    condition: str | None = None
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One record of GET /log_entries, read leniently.

    ``incident`` is what was embedded: the whole incident as it was at the time of
    reading, or a mere reference. ``assignees`` is None where the record has none.
    ``raw`` is the record itself, without ``incident`` and without personal contact data.
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
    """A record from PagerDuty that cannot be understood: why, and its raw text."""

    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class Announced:
    """An event that was sent before its own log entry came; that entry, when it comes, is swallowed.

    It is known by its kind, a time from ``since`` to ``until``, and ``marks``: the users of
    an assignment, the digest of a note's text.
    """

    type: EventType
    since: datetime
    until: datetime
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The last known state of an incident.

    ``created``, ``status`` and ``assigned`` are what the events so far have told receivers
    (whether it exists, its state since ``status_at``, and when each user was last named as
    assignee), which may lag behind ``incident``, PagerDuty's resource as read at ``read_at``.
    """

    incident_id: str
    created: bool
    status: Status
    status_at: datetime
    assigned: tuple[tuple[str, datetime], ...]
    incident: Json
    read_at: datetime
    announced: tuple[Announced, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an incident, found once.

    ``payload`` has the keys ``agent``, ``incident``, ``assignees`` (None unless assigned),
    ``note`` (None unless annotated), ``changes`` (None unless the log entry says what changed)
    and ``log_entry`` (the record's type and channel type; None where reconciliation found it).
    """

    id: str
    type: EventType
    connection: str
    incident_id: str
    occurred_at: datetime
    detected_at: datetime
    detected_by: DetectedBy
    payload: Json


@dataclass(frozen=True, slots=True)
class Action:
    """A queued request to change or read PagerDuty.

    ``subject`` is the incident that it is about, if any: actions on one incident are carried
    out one after the other. ``written_at`` is when a call that changes something was first
    about to be made, ``trace`` what the incident looked like then: after that, a repeat has
    to find out first whether the change was made. ``error`` has the keys ``code``, ``message``
    and perhaps ``status`` and ``pagerduty_code``; a queued action has it after a try that failed.
    ``secret`` names the parameters that are never shown.
    """

    id: str
    operation: str
    connection: str
    parameters: Json
    secret: tuple[str, ...]
    subject: str | None
    notify: tuple[str, ...]
    state: ActionState
    created_at: datetime
    tries: int = 0
    started_at: datetime | None = None
    written_at: datetime | None = None
    trace: Json | None = None
    outcome: Outcome | None = None
    result: Json | None = None
    error: Json | None = None
    finished_at: datetime | None = None

    @property
    def shown_parameters(self) -> Json:
        """The parameters without what is secret."""
        return {name: MASK if name in self.secret else value for name, value in self.parameters.items()}


@dataclass(frozen=True, slots=True)
class Batch:
    """Several events that a trigger sends in one message, in the journal's order."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Alert:
    """What pagerelay has to say about itself, such as ``target.failing``. ``data`` is JSON."""

    type: str
    at: datetime
    data: Json


@dataclass(frozen=True, slots=True)
class Message:
    """An event or a batch of them as one trigger sends it, the outcome of an action, or an alert.

    ``id`` is the ``webhook-id``, ``type`` what receivers tell messages apart by, such as
    ``incident.resolved`` or ``action.failed``; ``trigger`` is empty where there is none.
    """

    id: str
    trigger: str
    type: str
    about: Event | Batch | Action | Alert


@dataclass(frozen=True, slots=True)
class Content:
    """What a message's body is for one target: the same bytes in every attempt."""

    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one target, claimed by this process.

    ``attempts`` counts the attempts made so far, since ``begun_at``, where the horizon starts;
    ``replayed`` ones are those that somebody asked for once more.
    """

    id: int
    message_id: str
    target: str
    incident_id: str
    attempts: int
    begun_at: datetime
    replayed: bool = False
