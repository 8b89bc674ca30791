"""One invented PagerDuty account: what can happen to its incidents, and how its log tells it."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from daemon.model import EventType, Status
from daemon.simulator import agents, records
from daemon.simulator.directory import Directory
from daemon.simulator.incident import Incident, Note
from daemon.simulator.logbook import LogBook, new_id, utc_now
from daemon.simulator.quirks import Habits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from daemon.model import Json
    from daemon.simulator.directory import Policy, Priority, Service, User
    from daemon.simulator.effects import Effect

LONG_ID = 13
ACKNOWLEDGED_FOR = timedelta(minutes=30)
NOTIFIED_BY = ("email_notification", "sms_notification", "phone_notification", "push_notification")
NOISE = (
    "reach_trigger_limit",
    "reach_ack_limit",
    "responder_request_for_escalation_policy",  # a type that no document lists
)


class NoSuchIncidentError(LookupError):
    """The account has no such incident, or none that is open."""


class Account:
    """An account in memory. ``user_key`` makes its key that user's instead of the account's.

    With ``read_only`` its key cannot write. ``effects`` are what requests changed, oldest first.
    Raises NoSuchIncidentError where an incident, or an open one, is asked for and is not there.
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

    def incident(self, incident_id: str) -> Incident:
        """An incident. Raises NoSuchIncidentError."""
        found = self.incidents.get(incident_id)
        if found is None:
            raise NoSuchIncidentError(incident_id)
        return found

    def open_with_key(self, key: str, service: Service) -> Incident | None:
        """The open incident of a service that a key means."""
        found = (each for each in self.incidents.values() if each.is_open and each.key == key)
        return next((each for each in found if each.service is service), None)

    def trigger(
        self, title: str, *, service: Service | None = None, urgency: str = "high", key: str | None = None
    ) -> Incident:
        """A trigger event of a service: a new incident, or one more on the open incident with that key."""
        where = service or self.chance.choice(self.directory.services)
        if key and (known := self.open_with_key(key, where)):
            return self.retrigger(known.id)
        incident = self._create(title, where, urgency, key or f"{self.chance.getrandbits(128):032x}", by=None)
        self._assign_level(incident)
        return incident

    def open(self, title: str, by: User, *, service: Service | None = None, urgency: str = "high") -> Incident:
        """An incident that somebody opens in the web: without a key."""
        where = service or self.chance.choice(self.directory.services)
        incident = self._create(title, where, urgency, None, by=by)
        self._assign_level(incident)
        return incident

    def retrigger(self, incident_id: str) -> Incident:
        """A repeated trigger event: one more trigger entry on an incident that exists."""
        incident = self._open(incident_id)
        self.log.write("trigger", incident, agents.service(incident), self._web_channel(incident))
        return incident

    def acknowledge(self, incident_id: str, by: User | None) -> None:
        """By somebody who is not assigned, it writes an assignment first. Re-opens a resolved incident."""
        incident = self.incident(incident_id)
        if by and by not in [user for user, _ in incident.assigned]:
            incident.assigned = []
            self._assign(incident, "assign", *agents.web(by), [by])
        incident.acknowledged = [(user, at) for user, at in incident.acknowledged if user is not by]
        incident.acknowledged.append((by, self.log.second()))
        agent, channel = agents.hand(incident, by, "api")
        self._change(incident, Status.ACKNOWLEDGED, agent)
        seconds = int(ACKNOWLEDGED_FOR.total_seconds())
        entry = self.log.write("acknowledge", incident, agent, channel, acknowledgement_timeout=seconds)
        self.log.happened(EventType.ACKNOWLEDGED, entry)

    def unacknowledge(self, incident_id: str, by: User | None = None) -> None:
        """An acknowledgement that timed out, or that somebody takes back."""
        incident = self._open(incident_id)
        agent, channel = agents.hand(incident, by, "timeout")
        self._back_to_triggered(incident, agent)
        self.log.happened(EventType.UNACKNOWLEDGED, self.log.write("unacknowledge", incident, agent, channel))

    def resolve(self, incident_id: str, by: User | None = None, note: str | None = None) -> None:
        """By somebody, or by its service. A note given with it is in the resolve entry alone."""
        incident = self._open(incident_id)
        agent, channel = agents.hand(incident, by, "api")
        self._change(incident, Status.RESOLVED, agent)
        more: Json = {"note": note} if note else {}
        entry = self.log.write("resolve", incident, agent, channel, **more)
        if note:
            incident.notes.append(
                Note(new_id(self.chance, "P", LONG_ID), by or self.directory.users[0], note, self.log.second())
            )
            self.log.happened(EventType.ANNOTATED, entry, note=note)
        self.log.happened(EventType.RESOLVED, entry)

    def annotate(self, incident_id: str, by: User, content: str) -> Note:
        """A note; also on a resolved incident."""
        incident = self.incident(incident_id)
        note = Note(new_id(self.chance, "P", LONG_ID), by, content, self.log.second())
        incident.notes.append(note)
        channel = agents.channel("note") | {"summary": content, "content": content}
        entry = self.log.write("annotate", incident, agents.user(by), channel)
        self.log.happened(EventType.ANNOTATED, entry, note=content)
        return note

    def reassign(self, incident_id: str, by: User, users: Sequence[User]) -> None:
        """To other people: one entry for each of them."""
        incident = self._open(incident_id)
        incident.assigned = []
        self._back_to_triggered(incident, agents.user(by))
        self._assign(incident, "assign", *agents.web(by), users)

    def escalate(
        self, incident_id: str, by: User | None = None, *, policy: Policy | None = None, level: int | None = None
    ) -> None:
        """To the next level, by somebody or by a time-out: escalate entries alone, also of an acknowledged incident.

        Or to a ``level`` (from 0), or to the first one with people of another ``policy``.
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
        """One delegate entry, and an automatic assign entry for each new assignee that only carries it out."""
        incident = self._open(incident_id)
        incident.assigned = [(user, self.log.second()) for user in users]
        self._back_to_triggered(incident, agents.user(by))
        entry = self.log.write("delegate", incident, *agents.web(by), assignees=tuple(users))
        self.log.happened(EventType.ASSIGNED, entry)
        for user in users:
            self.log.write("assign", incident, agents.service(incident), agents.channel("auto"), assignees=(user,))

    def snooze(self, incident_id: str, by: User, seconds: int) -> None:
        """An acknowledged incident sleeps."""
        incident = self._open(incident_id)
        incident.snoozed_until = self.log.second() + timedelta(seconds=seconds)
        action = {"type": "unacknowledge", "at": incident.snoozed_until.isoformat()}
        agent, channel = agents.web(by)
        entry = self.log.write("snooze", incident, agent, channel | {"duration": seconds}, changed_actions=[action])
        self.log.happened(EventType.SNOOZED, entry)

    def reopen(self, incident_id: str, by: User, *, users: Sequence[User] = (), policy: Policy | None = None) -> None:
        """A resolved incident is open again, and assigned: to ``users``, to ``policy``, else as its policy says."""
        incident = self.incident(incident_id)
        self._change(incident, Status.TRIGGERED, agents.user(by))
        self.log.happened(EventType.REOPENED, self.log.write("reopen", incident, *agents.web(by)))
        if users:
            self._assign(incident, "assign", *agents.web(by), users)
            return
        if policy is not None:
            incident.policy, incident.level = policy, policy.first_level()
        self._assign_level(incident)

    def merge(self, incident_id: str, into: str, by: User) -> None:
        """The source is resolved; the other one lives on."""
        incident, target = self._open(incident_id), self._open(into)
        incident.merged_into = target
        self._change(incident, Status.RESOLVED, agents.user(by))
        self.log.happened(EventType.RESOLVED, self.log.write("resolve", incident, *agents.web(by)))
        self.log.write("merge", target, *agents.web(by))

    def retitle(self, incident_id: str, by: User, title: str) -> None:
        """Another title."""
        incident = self.incident(incident_id)
        before, incident.title = incident.title, title
        changed = {"application_fields": [_field("title", title, before)]}
        self._change_fields(incident, by, "field_value_change", changed)

    def change_field(self, incident_id: str, by: User, name: str, value: object) -> None:
        """Another value for one of the account's own fields."""
        incident = self.incident(incident_id)
        before, incident.fields[name] = incident.fields.get(name), value
        changed = {"customer_fields": [_field(name, value, before)]}
        self._change_fields(incident, by, "custom_field_value_change", changed)

    def change_urgency(self, incident_id: str, by: User) -> None:
        """From high to low or back."""
        incident = self.incident(incident_id)
        incident.urgency = "low" if incident.urgency == "high" else "high"
        self.log.happened(EventType.URGENCY_UPDATED, self.log.write("urgency_change", incident, *agents.web(by)))

    def change_priority(self, incident_id: str, by: User, priority: Priority | None = None) -> None:
        """To one, or to any other one."""
        incident = self.incident(incident_id)
        before = incident.priority
        others = [each for each in self.directory.priorities if each is not before]
        incident.priority = priority or self.chance.choice(others)
        agent, channel = agents.web(by)
        channel["old_priority"] = records.priority(before) if before else None
        channel["new_priority"] = records.priority(incident.priority)
        entry = self.log.write("priority_change", incident, agent, channel)
        self.log.happened(EventType.PRIORITY_UPDATED, entry)

    def repeat_escalation(self, incident_id: str) -> None:
        """Nobody acknowledged it on any level of its policy: it begins again."""
        self._escalation(incident_id, "repeat_escalation_path", EventType.ESCALATION_REPEATED)

    def exhaust_escalation(self, incident_id: str) -> None:
        """Nobody acknowledged it on any level of its policy, however often it began again."""
        self._escalation(incident_id, "exhaust_escalation_path", EventType.ESCALATION_EXHAUSTED)

    def notify(self, incident_id: str) -> None:
        """Everybody assigned is told: the noisiest entries, without an agent, with people's addresses."""
        incident = self._open(incident_id)
        for user, _ in incident.assigned:
            how = self.chance.choice(NOTIFIED_BY)
            address = user.email if how == "email_notification" else f"+1 555 01{self.chance.randrange(100):02d}"
            channel = agents.channel("auto")
            channel["notification"] = {"type": how, "address": address, "status": "success"}
            self.log.write("notify", incident, None, channel, notified=user)

    def noise(self, incident_id: str) -> None:
        """An entry that means nothing to a relay."""
        incident = self._open(incident_id)
        self.log.write(self.chance.choice(NOISE), incident, agents.service(incident), agents.channel("auto"))

    def odd_record(self, incident_id: str, **odd: object) -> None:
        """An entry whose record is not as it should be: ``odd`` replaces its fields."""
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
        self.log.happened(EventType.TRIGGERED, entry)
        return incident

    def _web_channel(self, incident: Incident) -> Json:
        details = self.chance.choice([None, "text alone", {"host": "db-1", "load": 17.2}])
        return agents.channel("api") | {"summary": incident.title, "incident_key": incident.key, "details": details}

    def _open(self, incident_id: str) -> Incident:
        incident = self.incident(incident_id)
        if not incident.is_open:
            raise NoSuchIncidentError(incident_id)
        return incident

    def _change_fields(self, incident: Incident, by: User, kind: str, changed: Json) -> None:
        agent, channel = agents.web(by)
        entry = self.log.write(kind, incident, agent, channel | {"changeset": changed})
        own = kind == "custom_field_value_change"
        self.log.happened(EventType.CUSTOM_FIELD_VALUES_UPDATED if own else EventType.FIELD_VALUES_UPDATED, entry)

    def _escalation(self, incident_id: str, kind: str, event: EventType) -> None:
        incident = self._open(incident_id)
        self.log.happened(event, self.log.write(kind, incident, agents.service(incident), agents.channel("timeout")))

    def _assign_level(self, incident: Incident) -> None:
        users = incident.policy.levels[incident.level]
        incident.assigned = []
        self._assign(incident, "assign", agents.service(incident), agents.channel("auto"), users)

    def _assign(self, incident: Incident, kind: str, agent: Json, channel: Json, users: Sequence[User]) -> None:
        for user in users:
            incident.assigned.append((user, self.log.second()))
            self.log.happened(EventType.ASSIGNED, self.log.write(kind, incident, agent, channel, assignees=(user,)))

    def _back_to_triggered(self, incident: Incident, agent: Json) -> None:
        if incident.status is Status.ACKNOWLEDGED:
            self._change(incident, Status.TRIGGERED, agent)

    def _change(self, incident: Incident, status: Status, agent: Json) -> None:
        incident.status, incident.changed_at, incident.agent = status, self.log.second(), agent
        incident.resolved_at = self.log.second() if status is Status.RESOLVED else None
        if status is not Status.ACKNOWLEDGED:
            incident.acknowledged = []
            incident.snoozed_until = None
        if status is Status.RESOLVED:
            incident.assigned = []


def _field(name: str, value: object, before: object) -> Json:
    """A field that changed, as the log writes it."""
    return {"id": f"PF{name.upper()[:5]}", "name": name, "namespace": "incidents", "value": value, "old_value": before}
