"""The description of an event type: everything that the program knows about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from daemon.model import IncidentStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Json

    EntryReader: TypeAlias = Callable[[Json, Json], Json]
    Comparison: TypeAlias = Callable[[Json, Json], Sequence["Difference"]]
    Simulation: TypeAlias = Callable[[Json, Json, datetime], "SimulatedChange"]


@dataclass(frozen=True, slots=True)
class Sample:
    """The specific part of a type's sample; ``log_entry_type`` is one of the type's, by default the first."""

    status: IncidentStatus = IncidentStatus.TRIGGERED
    changes: Json | None = None
    log_entry_type: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One event that two readings of an incident show: what changed and, if the incident says so, when and by whom.

    ``key`` distinguishes it from other events of its type that the same two readings show.
    """

    changes: Json
    at: datetime | None = None
    agent: Json | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class SimulatedChange:
    """The new values of an incident, and the fields of the log entry's channel and record."""

    values: Json = field(default_factory=dict)
    channel: Json = field(default_factory=dict)
    record: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verb:
    """A way to make the event happen in the simulator: ``POST /simulator/happen`` with ``"do": name``.

    ``parameters`` are the options and their defaults. ``priority``, ``service`` and ``responder`` name something in the
    account's directory, by default another one than the incident has. ``change`` receives the incident as a resource
    (with ``fields``, its custom fields), the options and the time. ``log_entry`` is the type of the entry that is
    written, without ``_log_entry``; None if the log does not report it. With ``automatic`` the service does it by a
    channel of that type, without a user.
    """

    name: str
    log_entry: str | None
    change: Simulation
    parameters: Mapping[str, object] = field(default_factory=dict)
    automatic: str | None = None
    open_only: bool = False


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event, or with ``subtype_of`` a further name for some events of that type.

    ``log_entry_types`` are the records of GET /log_entries that give such an event. ``operation`` is the
    connector's operation id, ``filters`` are the keys that a trigger may have beside ``where``,
    ``in_webhooks_v3`` says whether the format ``pagerduty-v3`` can send the type as PagerDuty's V3 webhooks do, and
    ``phrase`` is what the demonstration says after the incident's number.

    ``status`` is the incident's status after the event. ``read_changes`` returns what the log entry (its record
    and its channel) says changed, under the names that receivers get, or an empty object. ``compare`` returns
    what two readings of an incident show, for a type that no log entry reports.
    """

    name: str
    help: str
    phrase: str = ""
    log_entry_types: frozenset[str] = frozenset()
    subtype_of: str | None = None
    operation: str | None = None
    filters: tuple[str, ...] = ()
    in_webhooks_v3: bool = False
    status: IncidentStatus | None = None
    read_changes: EntryReader | None = None
    compare: Comparison | None = None
    sample: Sample = Sample()
    verbs: tuple[Verb, ...] = ()

    @property
    def event_type(self) -> str:
        """Return the type that the events have: the name itself, except for a subtype."""
        return self.subtype_of or self.name


def unchanged(_incident: Json, _options: Json, _now: datetime) -> SimulatedChange:
    """Change nothing: the log entry is all."""
    return SimulatedChange()
