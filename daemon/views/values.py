"""What views answer: frozen values, which the API and ``--json`` show as they are."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the API reads the annotations

from daemon.model import ActionState, DeliveryState, Json, Outcome, ReplayState  # noqa: TC001 - as above


class Health(enum.StrEnum):
    """How something is, in one word."""

    OK = "ok"
    WAITING = "waiting"  # nothing has happened yet
    BEHIND = "behind"
    BLOCKED = "blocked"
    PAUSED = "paused"
    LATE = "late"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Instance:
    """A daemon that lives."""

    id: str
    hostname: str
    version: str
    started_at: datetime
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True)
class Journal:
    """The events that are kept."""

    events: int
    oldest_at: datetime | None
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Budget:
    """A connection's calls in the present period (``period`` in seconds)."""

    calls: int
    period: float
    used: int
    left: int


@dataclass(frozen=True, slots=True)
class ActionQueue:
    """A connection's actions: how many wait and run, since when, and how many failed lately.

    ``failed`` counts those that ended in the last ``failed_within`` seconds.
    """

    queued: int
    oldest_queued_at: datetime | None
    running: int
    oldest_running_at: datetime | None
    failed: int
    failed_within: float


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """One PagerDuty account. ``lag`` is how far its log is read, in seconds behind now."""

    name: str
    health: Health
    baseline_at: datetime | None
    last_poll_at: datetime | None
    last_success_at: datetime | None
    next_poll_at: datetime | None
    failing_since: datetime | None
    last_error: str | None
    watermark: datetime | None
    lag: float | None
    budget: Budget
    blocked_until: datetime | None
    actions: ActionQueue
    open_incidents: int
    quarantined: int
    next_sweep_at: datetime | None
    next_reconcile_at: datetime | None


@dataclass(frozen=True, slots=True)
class TriggerStatus:
    """One subscription. ``behind`` counts the events of the journal that it has still to read."""

    name: str
    health: Health
    on: tuple[str, ...]
    connection: str
    to: tuple[str, ...]
    behind: int
    last_run_at: datetime | None
    last_event_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One webhook receiver. Of its URL only scheme, host and port are shown: the rest may be a secret.

    ``pending`` counts everything that is still to be sent, ``replayed`` what of it is sent again;
    ``oldest_pending_at`` is about the rest. One that fails, or is blocked, is tried again at ``probe_at``. One that
    took nothing yet of what it was sent is failing without ``failing_since`` until three attempts in a row have failed.
    ``public_keys`` are what receivers check Ed25519 signatures with.
    """

    name: str
    health: Health
    url: str
    format: str
    public_keys: tuple[str, ...]
    paused: bool
    paused_at: datetime | None
    paused_reason: str | None
    pending: int
    replayed: int
    oldest_pending_at: datetime | None
    dead: int
    last_success_at: datetime | None
    failing_since: datetime | None
    probe_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class ReplayFilters:
    """Which deliveries a replay sends again: those made from ``since`` to ``until`` that are all of the others."""

    since: datetime
    until: datetime
    trigger: str | None
    target: str | None
    state: DeliveryState | None


@dataclass(frozen=True, slots=True)
class ReplayItem:
    """A replay. ``total`` deliveries were to be sent again when it was made, ``taken`` of them were taken up so far.

    Of these, ``pending`` are still to be sent. ``skipped`` is known at the end: what was sent again
    meanwhile without the replay, or was pruned. ``cursor`` is its place in the list: ``after`` it
    come the later ones.
    """

    cursor: str
    id: int
    filters: ReplayFilters
    state: ReplayState
    total: int
    taken: int
    pending: int
    delivered: int
    dead: int
    skipped: int | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Replays:
    """One page of replays; ``next`` is where the next page begins, null at the end."""

    items: list[ReplayItem]
    next: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at a glance, as of ``now``. ``replays`` are those that go on."""

    version: str
    database: str
    now: datetime
    instances: tuple[Instance, ...]
    journal: Journal
    connections: tuple[ConnectionStatus, ...]
    triggers: tuple[TriggerStatus, ...]
    targets: tuple[TargetStatus, ...]
    replays: tuple[ReplayItem, ...]


@dataclass(frozen=True, slots=True)
class EventItem:
    """An event of the journal. ``cursor`` is its place there: ``after`` it come the later ones.

    ``operation`` is the connector's operation id, null where the connector knows no such event.
    ``changes`` is what the log says about what changed, null where it says nothing.
    """

    cursor: str
    id: str
    type: str
    operation: str | None
    connection: str
    incident_id: str
    occurred_at: datetime
    detected_at: datetime
    detected_by: str
    agent: Json | None
    incident: Json
    assignees: list[Json] | None
    note: Json | None
    changes: Json | None


@dataclass(frozen=True, slots=True)
class Events:
    """One page of the journal; ``next`` is where the next page begins, null at the end."""

    items: list[EventItem]
    next: str | None


@dataclass(frozen=True, slots=True)
class DeliveryItem:
    """One message for one target. What is null in ``type``, ``trigger`` or ``event_id`` has been pruned."""

    id: int
    message_id: str
    trigger: str | None
    event_id: str | None
    type: str | None
    connection: str | None
    incident_id: str
    target: str
    state: DeliveryState
    running: bool
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Deliveries:
    """One page of deliveries; ``next`` is where the next page begins, null at the end."""

    items: list[DeliveryItem]
    next: str | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a delivery. ``answer`` is the beginning of what came back, unless it was a success."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None
    answer: str | None


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery with its attempts, oldest first, and its event while that is kept.

    ``batch`` has the events of a message that tells of several.
    """

    delivery: DeliveryItem
    event: EventItem | None
    attempts: list[Attempt]
    batch: list[EventItem]


@dataclass(frozen=True, slots=True)
class ActionError:
    """Why an action failed, or why it has to be tried again. ``code`` is a word for programs, ``message`` for people.

    ``status`` and ``pagerduty_code`` are PagerDuty's, where it answered.
    """

    code: str
    message: str
    status: int | None = None
    pagerduty_code: int | None = None


@dataclass(frozen=True, slots=True)
class ActionItem:
    """A request to change or read PagerDuty. What is secret in ``parameters`` is masked.

    ``result`` is the connector's object. A queued action has an ``error`` after a try that did not
    work, and is tried again at ``next_try_at``. ``cursor`` is its place in the list: ``after`` it
    come the later ones.
    """

    cursor: str
    id: str
    operation: str
    connection: str
    parameters: Json
    incident_id: str | None
    notify: tuple[str, ...]
    state: ActionState
    outcome: Outcome | None
    result: Json | None
    error: ActionError | None
    tries: int
    created_at: datetime
    started_at: datetime | None
    next_try_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Actions:
    """One page of actions; ``next`` is where the next page begins, null at the end."""

    items: list[ActionItem]
    next: str | None
