"""The format pagerduty-v3: what PagerDuty's own V3 webhooks send, so that receivers of those work unchanged."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from daemon import resource
from daemon.formats.format import Format
from daemon.model import Content, Event, EventType, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from daemon.model import Json, Message, Options

ASSIGNMENTS = {"escalate_log_entry": "incident.escalated", "delegate_log_entry": "incident.delegated"}
BY_THEN = {
    EventType.TRIGGERED: Status.TRIGGERED,
    EventType.ACKNOWLEDGED: Status.ACKNOWLEDGED,
    EventType.RESOLVED: Status.RESOLVED,
}
PAGES = {"user": "users", "service": "services"}
AT_CREATION = timedelta(seconds=1)  # how far apart an incident's time and that of its first assignment can be
NAMESPACE = uuid.UUID("ac844365-29c0-4296-92d7-ee9f1f5fc70e")  # for ids of messages in PagerDuty's form


def content(message: Message, _options: Options) -> Content | None:
    """The envelope. PagerDuty has none for actions, for alerts of ours, or for several events together."""
    if not isinstance(message.about, Event):
        return None
    body = orjson.dumps({"event": _envelope(message.about)})
    return Content(body, "application/json", (("x-webhook-id", str(uuid.uuid5(NAMESPACE, message.id))),))


def sends(event: Event) -> bool:
    """Whether PagerDuty would send it: not the assignment at creation, which is in triggered's assignees.

    That is one that PagerDuty made by itself in the second in which the incident began.
    """
    if event.type is not EventType.ASSIGNED or _assignment(event) != "incident.reassigned":
        return True
    created_at = resource.moment(resource.inner(event.payload, "incident"), "created_at")
    channel = resource.text(resource.inner(event.payload, "log_entry"), "channel")
    return created_at is None or channel not in {None, "auto"} or event.occurred_at - created_at > AT_CREATION


def sign(target: str, body: bytes, secrets: Sequence[str]) -> Mapping[str, str]:
    """PagerDuty's signature, whose key is a secret's text as it stands, and a subscription's id of the target's own."""
    signed = (hmac.digest(secret.encode(), body, "sha256").hex() for secret in secrets)
    return {
        "x-pagerduty-signature": ",".join(f"v1={each}" for each in signed),
        "x-webhook-subscription": "P" + hashlib.sha256(target.encode()).hexdigest()[:13].upper(),
    }


def _envelope(event: Event) -> Json:
    incident = resource.inner(event.payload, "incident")
    is_note = event.type is EventType.ANNOTATED
    return {
        "id": event.id.removeprefix("evt_").upper(),
        "event_type": _assignment(event) if event.type is EventType.ASSIGNED else event.type.value,
        "resource_type": "incident",
        "occurred_at": _milliseconds(event.occurred_at),
        "agent": _agent(resource.inner(event.payload, "agent"), incident),
        "client": None,
        "data": _note(event, incident) if is_note else _incident(event, incident),
    }


def _assignment(event: Event) -> str:
    kind = resource.text(resource.inner(event.payload, "log_entry"), "type")
    return ASSIGNMENTS.get(kind or "", "incident.reassigned")


def _incident(event: Event, incident: Json) -> Json:
    status = BY_THEN.get(event.type) or resource.status(incident)
    reason = incident.get("resolve_reason")
    kind = resource.inner(incident, "incident_type")
    return {
        "id": event.incident_id,
        "type": "incident",
        "self": resource.text(incident, "self"),
        "html_url": resource.text(incident, "html_url"),
        "number": incident.get("incident_number"),
        "status": None if status is None else status.value,
        "incident_key": resource.text(incident, "incident_key"),
        "created_at": _seconds(resource.moment(incident, "created_at")),
        "reopened_at": None,
        "title": _title(incident),
        "service": _reference(resource.inner(incident, "service"), "service"),
        "assignees": [] if status is Status.RESOLVED else _assignees(event, incident),
        "escalation_policy": _reference(resource.inner(incident, "escalation_policy"), "escalation_policy"),
        "teams": [_reference(team, "team") for team in resource.listed(incident, "teams")],
        "priority": _reference(resource.inner(incident, "priority"), "priority"),
        "urgency": resource.text(incident, "urgency"),
        "conference_bridge": resource.inner(incident, "conference_bridge") or None,
        "resolve_reason": reason if isinstance(reason, dict) else None,
        "incident_type": {"name": resource.text(kind, "name")} if kind else None,
    }


def _assignees(event: Event, incident: Json) -> list[Any]:
    """Whom the incident is assigned to; of an assignment that was followed by others, whom it named."""
    now = [assignee for assignee, _ in resource.assignments(incident)]
    named = resource.listed(event.payload, "assignees")
    ids = {assignee["id"] for assignee in now}
    current = all(resource.text(assignee, "id") in ids for assignee in named)
    return [_reference(each, "user") for each in (now if current else named)]


def _note(event: Event, incident: Json) -> Json:
    """A note. Its own id is not in PagerDuty's log: the id of its entry there, or the event's, stands for it."""
    note = resource.inner(event.payload, "note")
    entry = resource.text(resource.inner(event.payload, "log_entry"), "id")
    return {
        "incident": {
            "id": event.incident_id,
            "type": "incident_reference",
            "self": resource.text(incident, "self"),
            "html_url": resource.text(incident, "html_url"),
            "summary": _title(incident),
        },
        "id": resource.text(note, "id") or entry or event.id,
        "content": resource.text(note, "content") or "",
        "trimmed": False,
        "type": "incident_note",
    }


def _title(incident: Json) -> str | None:
    """The title; a mere reference has it in its summary, behind the number."""
    summary = resource.text(incident, "summary")
    number, _, rest = (summary or "").partition("] ")
    return resource.text(incident, "title") or (rest if number.startswith("[#") and rest else summary)


def _agent(agent: Json, incident: Json) -> Json | None:
    """Who did it. Receivers take ``summary`` and ``html_url`` for granted."""
    made = _reference(agent, "user")
    if made is None:
        return None
    kind = made["type"].removesuffix("_reference")
    account = urlsplit(resource.text(incident, "html_url") or "")
    if made["html_url"] is None and account.hostname and kind in PAGES:
        made["html_url"] = f"{account.scheme}://{account.netloc}/{PAGES[kind]}/{made['id']}"
    made["summary"] = made["summary"] or made["id"]
    return made


def _reference(thing: Json, kind: str) -> Json | None:
    """A resource as webhooks name it: where it is, and nothing of what it is."""
    identity = resource.text(thing, "id")
    if identity is None:
        return None
    return {
        "id": identity,
        "type": (resource.text(thing, "type") or kind).removesuffix("_reference") + "_reference",
        "self": resource.text(thing, "self"),
        "html_url": resource.text(thing, "html_url"),
        "summary": resource.text(thing, "summary") or resource.text(thing, "name"),
    }


def _milliseconds(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")


FORMAT = Format(
    content=content,
    help="what PagerDuty's own V3 webhooks send, with their signature",
    events_only=True,
    sends=sends,
    sign=sign,
)
