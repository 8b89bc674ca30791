"""PagerDuty's Events API, versions 1 and 2, for events from monitoring. A service's key selects the account.

An event is accepted or rejected; the sender never learns its effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from daemon.model import IncidentStatus
from daemon.simulator import effects
from daemon.simulator.http import SimResponse, json_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.model import Json
    from daemon.simulator.account import Account
    from daemon.simulator.directory import Service
    from daemon.simulator.http import SimRequest

V1 = "/generic/2010-04-15/create_event.json"
V2 = "/v2/enqueue"
LONGEST_TEXT = 1024
LONGEST_KEY = 255
KEY_LENGTH = 32
KINDS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Spelling:
    """The key names of an API version, and its status for success."""

    service_key: str
    kind: str
    incident_key: str
    status: int


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """A valid event."""

    account: Account
    service: Service
    kind: str
    key: str | None
    text: str


class InvalidEventError(Exception):
    """An invalid event."""


SPELLINGS = {
    V1: Spelling("service_key", "event_type", "incident_key", 200),
    V2: Spelling("routing_key", "event_action", "dedup_key", 202),
}


def is_event(request: SimRequest) -> bool:
    """Return whether a request is for the Events API."""
    return request.path in SPELLINGS


def account(accounts: Iterable[Account], request: SimRequest) -> Account | None:
    """Return the account of an event by its service key, or None."""
    try:
        return _receiver(accounts, _body(request).get(SPELLINGS[request.path].service_key))[0]
    except InvalidEventError:
        return None


def answer(accounts: Iterable[Account], request: SimRequest) -> SimResponse:
    """Process an event and return PagerDuty's response."""
    if request.method != "POST":
        return _refused(405, "Method not allowed")
    try:
        event = _event(accounts, request)
    except InvalidEventError as invalid:
        return _refused(400, str(invalid))
    spelling = SPELLINGS[request.path]
    key = event.key or f"{event.account.chance.getrandbits(128):032x}"
    if not event.account.habits.suppressed:
        _act(event, request, key)
    document = {"status": "success", "message": "Event processed", spelling.incident_key: key}
    return json_answer(document, spelling.status)


def throttled(request: SimRequest) -> SimResponse:
    """Return the response to too many events: 403 in version 1."""
    document = {"status": "throttled", "message": "Too many events for this service at once"}
    return json_answer(document, 403 if request.path == V1 else 429)


def _act(event: IncomingEvent, request: SimRequest, key: str) -> None:
    """Apply an event: a trigger opens or re-triggers an incident; the others need an open one, else do nothing."""
    account, known = event.account, event.account.open_with_key(key, event.service)
    if event.kind == "trigger":
        incident, what = (
            account.trigger(event.text, service=event.service, key=key),
            "retrigger" if known else "trigger",
        )
    elif known is None or (event.kind == "acknowledge" and known.status is IncidentStatus.ACKNOWLEDGED):
        return
    elif event.kind == "acknowledge":
        account.acknowledge(known.id, None)
        incident, what = known, "acknowledge"
    else:
        account.resolve(known.id)
        incident, what = known, "resolve"
    effects.record(account, request, incident.id, what, event.service.id, detail=key)


def _event(accounts: Iterable[Account], request: SimRequest) -> IncomingEvent:
    """Parse an event. Raises InvalidEventError."""
    spelling, body = SPELLINGS[request.path], _body(request)
    account, service = _receiver(accounts, body.get(spelling.service_key))
    kind, key = body.get(spelling.kind), body.get(spelling.incident_key)
    if kind not in KINDS:
        raise InvalidEventError(f"{spelling.kind} must be trigger, acknowledge or resolve")
    if key is not None and not (isinstance(key, str) and len(key) <= LONGEST_KEY):
        raise InvalidEventError(f"{spelling.incident_key} must be a text of at most {LONGEST_KEY} characters")
    if kind != "trigger" and not key:
        raise InvalidEventError(f"{spelling.incident_key} is required to {kind}")
    return IncomingEvent(account, service, kind, key or None, _text(request, body) if kind == "trigger" else "")


def _receiver(accounts: Iterable[Account], key: object) -> tuple[Account, Service]:
    if not isinstance(key, str) or len(key) != KEY_LENGTH:
        raise InvalidEventError(f"The key of the service must have {KEY_LENGTH} characters")
    for account in accounts:
        for service in account.directory.services:
            if service.key == key:
                return account, service
    raise InvalidEventError("The key belongs to no service")


def _text(request: SimRequest, body: Json) -> str:
    """Return the description, or in version 2 the summary of a payload that also has source and severity."""
    text = body.get("description")
    if request.path == V2:
        payload = body.get("payload")
        if not isinstance(payload, dict) or not isinstance(payload.get("source"), str):
            raise InvalidEventError("payload.source is required")
        if payload.get("severity") not in SEVERITIES:
            raise InvalidEventError("payload.severity must be critical, error, warning or info")
        text = payload.get("summary")
    if not isinstance(text, str) or not 1 <= len(text.strip()) <= len(text) <= LONGEST_TEXT:
        raise InvalidEventError(f"The description must have 1 to {LONGEST_TEXT} characters")
    return text


def _body(request: SimRequest) -> Json:
    try:
        body: Any = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise InvalidEventError("The body is not valid JSON") from None
    if not isinstance(body, dict):
        raise InvalidEventError("The body must be an object")
    return body


def _refused(status: int, detail: str) -> SimResponse:
    return json_answer({"status": "invalid event", "message": "Event object is invalid", "errors": [detail]}, status)
