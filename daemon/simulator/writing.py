"""PagerDuty's REST writes: permissions, validation of bodies, and effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from daemon.model import IncidentStatus
from daemon.simulator import effects, records, refusals, updates
from daemon.simulator.account import NoSuchIncidentError
from daemon.simulator.http import SimResponse, json_answer
from daemon.simulator.quirks import Bulk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.model import Json
    from daemon.simulator.account import Account
    from daemon.simulator.directory import User
    from daemon.simulator.http import SimRequest
    from daemon.simulator.incident import Incident

    Handler = Callable[[Account, SimRequest, Mapping[str, str]], SimResponse]

MOST_AT_ONCE = 250
MOST_NOTES = 2000
LONGEST_SNOOZE = 604_800


def _update(account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    """Update status, assignments, escalation, title, urgency and priority: all of them, or none and an error."""
    by = _requester(account, request)
    incident = account.incident(named["id"])
    _make(account, request, incident, updates.changes(account, incident, _within(request, "incident"), by), by)
    return _shown(account, incident)


def _update_many(account: Account, request: SimRequest, _named: Mapping[str, str]) -> SimResponse:
    """Apply up to 250 updates for one requester. The effect of an invalid one is a quirk of the account."""
    by = _requester(account, request)
    bodies = _updates(request)
    quirk = account.habits.bulk
    if quirk is Bulk.WHOLE:
        for body in bodies:
            _planned(account, body, by)
    incidents = []
    for body in bodies:
        try:
            incident, plan = _planned(account, body, by)
        except refusals.RefusedError as refused:
            if quirk is Bulk.HALFWAY:
                raise
            if quirk is Bulk.MARKED:
                incidents.append({"id": _id(body), "type": "incident_reference", "error": refused.error})
        else:
            _make(account, request, incident, plan, by)
            incidents.append(records.incident(incident, account.directory.team))
    return json_answer({"incidents": incidents})


def _add_note(account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    """Add another note with each call, even with the same text."""
    by = _requester(account, request)
    incident = account.incident(named["id"])
    content = _within(request, "note").get("content")
    if not isinstance(content, str) or not content.strip():
        raise refusals.invalid("Content cannot be empty")
    if len(incident.notes) >= MOST_NOTES:
        raise refusals.invalid(f"An incident takes {MOST_NOTES} notes")
    note = account.annotate(incident.id, by, content)
    effects.record(account, request, incident.id, "annotate", by.id, detail=content)
    return json_answer({"note": records.note(note)}, account.habits.note_status)


def _snooze(account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    """Snooze an acknowledged incident for one second to seven days."""
    by = _requester(account, request)
    incident = account.incident(named["id"])
    duration = _body(request).get("duration")
    if not isinstance(duration, int) or isinstance(duration, bool):
        raise refusals.invalid("Duration must be a number of seconds")
    if not 1 <= duration <= LONGEST_SNOOZE:
        raise refusals.bad_duration()
    if incident.status is not IncidentStatus.ACKNOWLEDGED:
        raise refusals.not_acknowledged()
    account.change(incident.id, by, "snooze", duration=duration)
    effects.record(account, request, incident.id, "snooze", by.id, detail=str(duration))
    return _shown(account, incident, 201)


def _requester(account: Account, request: SimRequest) -> User:
    """Return the user whose address is in ``From``. Raises RefusedError."""
    if account.read_only:
        raise refusals.read_only()
    if "from" not in request.headers:
        raise refusals.no_requester(account.habits.missing_from)
    user = account.directory.requester(request.headers["from"])
    if user is None:
        raise refusals.no_such_requester()
    return user


def _updates(request: SimRequest) -> list[Json]:
    """Return the updates of a bulk request. Raises RefusedError."""
    bodies = _body(request).get("incidents")
    if not isinstance(bodies, list) or not bodies:
        raise refusals.invalid("Incidents must be a list of updates")
    if len(bodies) > MOST_AT_ONCE:
        raise refusals.too_many()
    if len({_id(body) for body in bodies}) < len(bodies):
        raise refusals.invalid("Each incident must be named once")
    return bodies


def _planned(account: Account, body: Json, by: User) -> tuple[Incident, list[updates.Update]]:
    """Check one of many updates. An unknown id is invalid input here, since it is not in the path."""
    try:
        incident = account.incident(_id(body))
    except NoSuchIncidentError as missing:
        raise refusals.invalid(f"Incident {missing} not found") from None
    return incident, updates.changes(account, incident, body, by)


def _id(body: object) -> str:
    if isinstance(body, dict) and isinstance(body.get("id"), str):
        return str(body["id"])
    raise refusals.invalid("Incident id is missing")


def _make(account: Account, request: SimRequest, incident: Incident, plan: list[updates.Update], by: User) -> None:
    for change in plan:
        change.act()
        effects.record(account, request, incident.id, change.what, by.id, detail=change.detail, reopened=change.reopens)


def _shown(account: Account, incident: Incident, status: int = 200) -> SimResponse:
    return json_answer({"incident": records.incident(incident, account.directory.team)}, status)


def _within(request: SimRequest, name: str) -> Json:
    """Return the object of this name in the body. Raises RefusedError."""
    value = _body(request).get(name)
    if not isinstance(value, dict):
        raise refusals.invalid(f"{name.capitalize()} must be an object")
    return value


def _body(request: SimRequest) -> Json:
    """Return a request's body. Raises RefusedError if it is not a JSON object."""
    try:
        body: Any = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise refusals.invalid("The body is not valid JSON") from None
    if not isinstance(body, dict):
        raise refusals.invalid("The body must be an object")
    return body


ENDPOINTS: dict[str, Handler] = {
    "PUT /incidents": _update_many,
    "PUT /incidents/{id}": _update,
    "POST /incidents/{id}/notes": _add_note,
    "POST /incidents/{id}/snooze": _snooze,
}
