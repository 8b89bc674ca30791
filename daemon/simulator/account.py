"""A simulated PagerDuty account: the changes that its incidents can undergo, and how its log records them."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from daemon.model import IncidentStatus
from daemon.simulator import agents, records
from daemon.simulator.directory import Directory
from daemon.simulator.incident import Incident, Note
from daemon.simulator.logbook import LogBook, new_id, utc_now
from daemon.simulator.oauth_app import OAuthApp
from daemon.simulator.quirks import Habits
from daemon.triggers import (
    VERBS,
    acknowledged,
    annotated,
    assigned,
    reopened,
    resolved,
    triggered,
    unacknowledged,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from daemon.model import Json
    from daemon.simulator.directory import Policy, Service, User
    from daemon.simulator.incident import Effect

LONG_ID = 13
REFERENCES: dict[str, Callable[[Any], Json]] = {
    "priority": records.priority,
    "service": records.service_reference,
    "responder": records.user_reference,
}
VALUES = frozenset({"priority", "service", "title", "urgency", "fields", "snoozed_until", "conference_bridge"})
ACKNOWLEDGED_FOR = timedelta(minutes=30)
NOTIFIED_BY = ("email_notification", "sms_notification", "phone_notification", "push_notification")
NOISE = (
    "reach_trigger_limit",
    "reach_ack_limit",
    "responder_request_for_escalation_policy",  # an undocumented type
)


class NoSuchIncidentError(LookupError):
    """The account has no such incident, or it is not open."""


class Account:
    """An account in memory. With ``user_key``, its key belongs to that user instead of the account.

    With ``read_only``, its key cannot write. ``effects`` are the changes that requests made, oldest first.
    Methods raise NoSuchIncidentError if the incident does not exist, or must be open and is not.
    """

    def __init__(
        self,
        name: str = "acme",
        api_key: str = "simulator",
        *,
        time_zone: str = "America/New_York",
        clock: Callable[[], datetime] = utc_now,
        seed: int = 0,
    ) -> None:
        self.name = name
        self.api_key = api_key
        self.zone = ZoneInfo(time_zone)
        self.chance = random.Random(f"{name} {seed}")
        self.directory = Directory(self.chance)
        self.incidents: dict[str, Incident] = {}
        self.log = LogBook(clock, self.chance)
        self.user_key: User | None = None
        self.read_only = False
        self.habits = Habits()
        self.effects: list[Effect] = []
        self.app = OAuthApp(api_key, self.log.now, random.Random(f"app {name} {seed}"))

    def incident(self, incident_id: str) -> Incident:
        """Return an incident. Raises NoSuchIncidentError."""
        incident = self.incidents.get(incident_id)
        if incident is None:
            raise NoSuchIncidentError(incident_id)
        return incident

    def open_with_key(self, key: str, service: Service) -> Incident | None:
        """Return the open incident of a service with this key."""
        candidates = (incident for incident in self.incidents.values() if incident.is_open and incident.key == key)
        return next((incident for incident in candidates if incident.service is service), None)

    def trigger(
        self, title: str, *, service: Service | None = None, urgency: str = "high", key: str | None = None
    ) -> Incident:
        """Apply a service's trigger event: create an incident, or re-trigger the open incident with this key."""
        where = service or self.chance.choice(self.directory.services)
        if key and (known := self.open_with_key(key, where)):
            return self.retrigger(known.id)
        incident = self._create(title, where, urgency, key or f"{self.chance.getrandbits(128):032x}", by=None)
        self._assign_level(incident)
        return incident

    def open(self, title: str, by: User, *, service: Service | None = None, urgency: str = "high") -> Incident:
        """Create an incident as a user does in the web interface: without a key."""
        where = service or self.chance.choice(self.directory.services)
        incident = self._create(title, where, urgency, None, by=by)
        self._assign_level(incident)
        return incident

    def retrigger(self, incident_id: str) -> Incident:
        """Apply a repeated trigger event: one more trigger entry on an existing incident."""
        incident = self._open(incident_id)
        self.log.write("trigger", incident, agents.service(incident), self._web_channel(incident))
        return incident

    def acknowledge(self, incident_id: str, by: User | None) -> None:
        """Acknowledge an incident, after assigning it to the user if necessary. Reopens a resolved incident."""
        incident = self.incident(incident_id)
        if by and by not in [user for user, _ in incident.assigned]:
            incident.assigned = []
            self._assign(incident, "assign", *agents.web(by), [by])
        incident.acknowledged = [(user, at) for user, at in incident.acknowledged if user is not by]
        incident.acknowledged.append((by, self.log.second()))
        agent, channel = agents.hand(incident, by, "api")
        self._change(incident, IncidentStatus.ACKNOWLEDGED, agent)
        seconds = int(ACKNOWLEDGED_FOR.total_seconds())
        entry = self.log.write("acknowledge", incident, agent, channel, acknowledgement_timeout=seconds)
        self.log.happened(acknowledged.TYPE.name, entry)

    def unacknowledge(self, incident_id: str, by: User | None = None) -> None:
        """End an acknowledgement: it timed out, or a user withdrew it."""
        incident = self._open(incident_id)
        agent, channel = agents.hand(incident, by, "timeout")
        self._back_to_triggered(incident, agent)
        self.log.happened(unacknowledged.TYPE.name, self.log.write("unacknowledge", incident, agent, channel))

    def resolve(self, incident_id: str, by: User | None = None, note: str | None = None) -> None:
        """Resolve an incident, by a user or by its service. The note is recorded only in the resolve entry."""
        incident = self._open(incident_id)
        agent, channel = agents.hand(incident, by, "api")
        self._change(incident, IncidentStatus.RESOLVED, agent)
        more: Json = {"note": note} if note else {}
        entry = self.log.write("resolve", incident, agent, channel, **more)
        if note:
            incident.notes.append(
                Note(new_id(self.chance, "P", LONG_ID), by or self.directory.users[0], note, self.log.second())
            )
            self.log.happened(annotated.TYPE.name, entry, note=note)
        self.log.happened(resolved.TYPE.name, entry)

    def annotate(self, incident_id: str, by: User, content: str) -> Note:
        """Add a note; also to a resolved incident."""
        incident = self.incident(incident_id)
        note = Note(new_id(self.chance, "P", LONG_ID), by, content, self.log.second())
        incident.notes.append(note)
        channel = agents.channel("note") | {"summary": content, "content": content}
        entry = self.log.write("annotate", incident, agents.user(by), channel)
        self.log.happened(annotated.TYPE.name, entry, note=content)
        return note

    def reassign(self, incident_id: str, by: User, users: Sequence[User]) -> None:
        """Reassign an incident to other users: one entry for each."""
        incident = self._open(incident_id)
        incident.assigned = []
        self._back_to_triggered(incident, agents.user(by))
        self._assign(incident, "assign", *agents.web(by), users)

    def escalate(
        self, incident_id: str, by: User | None = None, *, policy: Policy | None = None, level: int | None = None
    ) -> None:
        """Escalate to the next level, by a user or by a timeout: writes only escalate entries, even if acknowledged.

        With ``level`` (from 0), escalate to that level; with another ``policy``, to its first level with users.
        """
        incident = self._open(incident_id)
        following = (incident.level + 1) % len(incident.policy.levels)
        if policy is not None:
            incident.policy, following = policy, policy.first_level()
        incident.level = following if level is None else level
        incident.assigned = []
        agent, channel = agents.hand(incident, by, "timeout")
        self._back_to_triggered(incident, agent)
        self._assign(incident, "escalate", agent, channel, incident.policy.levels[incident.level])

    def delegate(self, incident_id: str, by: User, users: Sequence[User]) -> None:
        """Delegate an incident: one delegate entry, and an automatic assign entry for each new assignee."""
        incident = self._open(incident_id)
        incident.assigned = [(user, self.log.second()) for user in users]
        self._back_to_triggered(incident, agents.user(by))
        entry = self.log.write("delegate", incident, *agents.web(by), assignees=tuple(users))
        self.log.happened(assigned.TYPE.name, entry)
        for user in users:
            self.log.write("assign", incident, agents.service(incident), agents.channel("auto"), assignees=(user,))

    def reopen(self, incident_id: str, by: User, *, users: Sequence[User] = (), policy: Policy | None = None) -> None:
        """Reopen a resolved incident and assign it: to ``users``, to ``policy``, or else by its own policy."""
        incident = self.incident(incident_id)
        self._change(incident, IncidentStatus.TRIGGERED, agents.user(by))
        self.log.happened(reopened.TYPE.name, self.log.write("reopen", incident, *agents.web(by)))
        if users:
            self._assign(incident, "assign", *agents.web(by), users)
            return
        if policy is not None:
            incident.policy, incident.level = policy, policy.first_level()
        self._assign_level(incident)

    def merge(self, incident_id: str, into: str, by: User) -> None:
        """Merge an incident into another one: the source is resolved, the destination stays open."""
        incident, target = self._open(incident_id), self._open(into)
        incident.merged_into = target
        self._change(incident, IncidentStatus.RESOLVED, agents.user(by))
        self.log.happened(resolved.TYPE.name, self.log.write("resolve", incident, *agents.web(by)))
        self.log.write("merge", target, *agents.web(by))

    def change(self, incident_id: str, by: User, name: str, /, **options: object) -> None:
        """Apply a verb of an event type (``triggers.VERBS``) and write its log entry, if it has one.

        A priority, a service or a responder is given as a resource; by default it is any other one.
        """
        verb, event_type = VERBS[name]
        incident = self._open(incident_id) if verb.open_only else self.incident(incident_id)
        before = records.incident(incident, self.directory.team) | {"fields": incident.fields}
        options = {**verb.parameters, **options}
        for reference in REFERENCES.keys() & options.keys():
            options[reference] = options[reference] or self._other(reference, before)
        change = verb.change(before, options, self.log.second())
        for key, value in change.values.items():
            self._set(incident, key, value)
        agent, channel = agents.hand(incident, None, verb.automatic) if verb.automatic else agents.web(by)
        if verb.log_entry is None:
            self.log.happened_silently(event_type.name, incident)
            return
        entry = self.log.write(verb.log_entry, incident, agent, channel | change.channel, **change.record)
        self.log.happened(event_type.name, entry)

    def _other(self, what: str, before: Json) -> Json:
        """Return any priority, service or user other than the incident's."""
        resources = [REFERENCES[what](each) for each in self.directory.of(what)]
        return self.chance.choice([each for each in resources if each["id"] != (before.get(what) or {}).get("id")])

    def _set(self, incident: Incident, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Set a value of an incident, or another field of its resource."""
        if key in REFERENCES:
            value = next(each for each in self.directory.of(key) if each.id == value["id"])
        if key in VALUES:
            setattr(incident, key, value)
        else:
            incident.more[key] = value

    def notify(self, incident_id: str) -> None:
        """Notify all assignees: the most frequent entries, without an agent, with people's contact details."""
        incident = self._open(incident_id)
        for user, _ in incident.assigned:
            how = self.chance.choice(NOTIFIED_BY)
            address = user.email if how == "email_notification" else f"+1 555 01{self.chance.randrange(100):02d}"
            channel = agents.channel("auto")
            channel["notification"] = {"type": how, "address": address, "status": "success"}
            self.log.write("notify", incident, None, channel, notified=user)

    def noise(self, incident_id: str) -> None:
        """Write an entry that a relay must ignore."""
        incident = self._open(incident_id)
        self.log.write(self.chance.choice(NOISE), incident, agents.service(incident), agents.channel("auto"))

    def odd_record(self, incident_id: str, **odd: object) -> None:
        """Write an entry with a malformed record: ``odd`` replaces its fields."""
        incident = self.incident(incident_id)
        self.log.write("annotate", incident, agents.service(incident), agents.channel("note")).odd = dict(odd)

    def _create(self, title: str, service: Service, urgency: str, key: str | None, by: User | None) -> Incident:
        now = self.log.second()
        incident = Incident(
            id=new_id(self.chance, "Q", LONG_ID),
            number=len(self.incidents) + 1,
            title=title,
            service=service,
            policy=service.policy,
            urgency=urgency,
            key=key,
            created_at=now,
            updated_at=now,
            changed_at=now,
            agent={},
        )
        incident.agent = agents.user(by) if by else agents.service(incident)
        self.incidents[incident.id] = incident
        channel = agents.channel("web_trigger") | {"summary": title} if by else self._web_channel(incident)
        entry = self.log.write("trigger", incident, incident.agent, channel)
        incident.first_entry = entry.id
        self.log.happened(triggered.TYPE.name, entry)
        return incident

    def _web_channel(self, incident: Incident) -> Json:
        details = self.chance.choice([None, "text alone", {"host": "db-1", "load": 17.2}])
        return agents.channel("api") | {"summary": incident.title, "incident_key": incident.key, "details": details}

    def _open(self, incident_id: str) -> Incident:
        incident = self.incident(incident_id)
        if not incident.is_open:
            raise NoSuchIncidentError(incident_id)
        return incident

    def _assign_level(self, incident: Incident) -> None:
        users = incident.policy.levels[incident.level]
        incident.assigned = []
        self._assign(incident, "assign", agents.service(incident), agents.channel("auto"), users)

    def _assign(self, incident: Incident, kind: str, agent: Json, channel: Json, users: Sequence[User]) -> None:
        for user in users:
            incident.assigned.append((user, self.log.second()))
            self.log.happened(assigned.TYPE.name, self.log.write(kind, incident, agent, channel, assignees=(user,)))

    def _back_to_triggered(self, incident: Incident, agent: Json) -> None:
        if incident.status is IncidentStatus.ACKNOWLEDGED:
            self._change(incident, IncidentStatus.TRIGGERED, agent)

    def _change(self, incident: Incident, status: IncidentStatus, agent: Json) -> None:
        incident.status, incident.changed_at, incident.agent = status, self.log.second(), agent
        incident.resolved_at = self.log.second() if status is IncidentStatus.RESOLVED else None
        if status is not IncidentStatus.ACKNOWLEDGED:
            incident.acknowledged = []
            incident.snoozed_until = None
        if status is IncidentStatus.RESOLVED:
            incident.assigned = []
