"""PagerDuty's REST endpoints over a simulated account, as pure functions from request to response."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from daemon.model import IncidentStatus
from daemon.simulator import records, writing
from daemon.simulator.account import NoSuchIncidentError
from daemon.simulator.http import SimResponse, json_answer
from daemon.simulator.refusals import RefusedError, error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from daemon.model import Json
    from daemon.simulator.account import Account
    from daemon.simulator.directory import Directory, Policy, Service, Team
    from daemon.simulator.http import SimRequest
    from daemon.simulator.incident import Incident

    Named = TypeVar("Named", Service, Policy, Team)
    Handler = Callable[[Account, SimRequest, Mapping[str, str]], SimResponse]

T = TypeVar("T")

DEFAULT_LIMIT = 25
LARGEST_LIMIT = 100
CAP = 10_000
DEFAULT_RANGE = timedelta(days=30)
LONGEST_RANGE = timedelta(days=183)
ABILITIES = ["teams", "urgencies"]
SORTABLE = {
    "incident_number": lambda incident: incident.number,
    "created_at": lambda incident: incident.created_at,
    "resolved_at": lambda incident: incident.resolved_at or incident.created_at,
    "urgency": lambda incident: incident.urgency,
}


def answer(account: Account, request: SimRequest) -> SimResponse:
    """Return PagerDuty's response to a request with a valid key."""
    is_known = False
    for method, pattern, handler in ROUTES:
        if match := pattern.fullmatch(request.path):
            is_known = True
            if method == request.method:
                return _handled(handler, account, request, match.groupdict())
    return error(405 if is_known else 404, 2100, "Method Not Allowed" if is_known else "Not Found")


def _handled(handler: Handler, account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    try:
        return handler(account, request, named)
    except RefusedError as refused:
        return refused.answer
    except (NoSuchIncidentError, KeyError):
        return error(404, 2100, "Not Found")


def _log_entries(account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    """List log entries, newest first; ``since`` is inclusive; ``is_overview`` omits notes and assignments."""
    zone = _zone(account, request)
    now = account.log.now()
    since = _moment(request, "since", zone) or now - DEFAULT_RANGE
    until = _moment(request, "until", zone) or now + timedelta(days=1)
    entries = account.log.read(since, until)
    if "id" in named:
        incident = account.incident(named["id"])
        entries = [each for each in entries if each.incident is incident]
    if request.get("is_overview") == "true":
        hidden = {"annotate_log_entry", "assign_log_entry"}
        entries = [each for each in entries if each.type not in hidden]
    team, include = account.directory.team, request.all("include")
    return _page(request, "log_entries", entries, lambda each: records.log_entry(each, team, zone, include))


def _log_entry(account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    zone, now = _zone(account, request), account.log.now()
    for entry in account.log.entries:
        if entry.id == named["id"] and entry.visible_at <= now:
            team, include = account.directory.team, request.all("include")
            return json_answer({"log_entry": records.log_entry(entry, team, zone, include)})
    raise KeyError(named["id"])


def _incidents(account: Account, request: SimRequest, _named: Mapping[str, str]) -> SimResponse:
    """List incidents by creation, by default of the last month; nothing shows what changed since a time."""
    incidents = _in_range(account, request)
    if statuses := request.all("statuses"):
        if unknown := set(statuses) - set(IncidentStatus):
            raise RefusedError(400, 2001, "Invalid Input Provided", f"Statuses is invalid: {min(unknown)}")
        incidents = [each for each in incidents if each.status in statuses]
    if (key := request.get("incident_key")) is not None:
        incidents = [each for each in incidents if each.key == key]
    for name, of in _FILTERS.items():
        if ids := set(request.all(name)):
            incidents = [each for each in incidents if ids & of(each, account)]
    team, include = account.directory.team, request.all("include")
    return _page(request, "incidents", _sorted(incidents, request), lambda each: records.incident(each, team, include))


def _in_range(account: Account, request: SimRequest) -> list[Incident]:
    incidents = list(account.incidents.values())
    if request.get("date_range") == "all":
        return incidents
    zone, now = _zone(account, request), account.log.now()
    until = _moment(request, "until", zone) or now + timedelta(seconds=1)
    since = _moment(request, "since", zone) or until - DEFAULT_RANGE
    if until - since > LONGEST_RANGE:
        raise RefusedError(400, 2001, "Invalid Input Provided", "The date range must be six months at most")
    return [each for each in incidents if since <= each.created_at < until]


def _sorted(incidents: list[Incident], request: SimRequest) -> list[Incident]:
    """Sort incidents, by default by status, so that a change of status moves an incident between pages."""
    if not (order := request.get("sort_by")):
        return sorted(incidents, key=lambda each: (each.status, each.number))
    for part in reversed(order.split(",")):
        name, _, direction = part.partition(":")
        if name not in SORTABLE or direction not in {"", "asc", "desc"}:
            raise RefusedError(400, 2001, "Invalid Input Provided", f"sort_by is invalid: {part}")
        incidents = sorted(incidents, key=SORTABLE[name], reverse=direction == "desc")
    return incidents


def _incident(account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    incident, include = account.incident(named["id"]), request.all("include")
    return json_answer({"incident": records.incident(incident, account.directory.team, include)})


def _notes(account: Account, _request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    return json_answer({"notes": [records.note(each) for each in account.incident(named["id"]).notes]})


def _users(account: Account, request: SimRequest, _named: Mapping[str, str]) -> SimResponse:
    query = (request.get("query") or "").lower()
    users = [each for each in account.directory.users if query in each.name.lower() or query in each.email]
    team, include = account.directory.team, request.all("include")
    return _page(request, "users", users, lambda each: records.user(each, team, include))


def _user(account: Account, request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    user = {each.id: each for each in account.directory.users}[named["id"]]
    return json_answer({"user": records.user(user, account.directory.team, request.all("include"))})


def _me(account: Account, request: SimRequest, _named: Mapping[str, str]) -> SimResponse:
    if account.user_key is None:  # a text instead of the usual object, as PagerDuty's own library expects
        return json_answer({"error": "Cannot be used with an account-level access token"}, 400)
    return json_answer({"user": records.user(account.user_key, account.directory.team, request.all("include"))})


def _all(name: str, of: Callable[[Directory], Sequence[Named]], render: Callable[[Named, Team], Json]) -> Handler:
    """Return a handler that lists objects, filtered by name."""

    def handler(account: Account, request: SimRequest, _named: Mapping[str, str]) -> SimResponse:
        query = (request.get("query") or "").lower()
        matches = [each for each in of(account.directory) if query in each.name.lower()]
        return _page(request, name, matches, lambda each: render(each, account.directory.team))

    return handler


def _one(name: str, of: Callable[[Directory], Sequence[Named]], render: Callable[[Named, Team], Json]) -> Handler:
    """Return a handler that shows one object."""

    def handler(account: Account, _request: SimRequest, named: Mapping[str, str]) -> SimResponse:
        match = {each.id: each for each in of(account.directory)}[named["id"]]
        return json_answer({name: render(match, account.directory.team)})

    return handler


def _abilities(_account: Account, _request: SimRequest, _named: Mapping[str, str]) -> SimResponse:
    return json_answer({"abilities": ABILITIES})


def _ability(_account: Account, _request: SimRequest, named: Mapping[str, str]) -> SimResponse:
    if named["id"] not in ABILITIES:
        raise KeyError(named["id"])
    return SimResponse(204)


def _page(request: SimRequest, name: str, items: Sequence[T], render: Callable[[T], Json]) -> SimResponse:
    """Return one page of a list: 25 by default, at most 100, nothing beyond 10,000."""
    limit, offset = _whole(request, "limit", DEFAULT_LIMIT), _whole(request, "offset", 0)
    if not 1 <= limit <= LARGEST_LIMIT:
        raise RefusedError(400, 2001, "Invalid Input Provided", f"Limit must be from 1 to {LARGEST_LIMIT}")
    if offset < 0 or offset + limit > CAP:
        raise RefusedError(400, 2001, "Invalid Input Provided", f"Offset and limit must not pass {CAP}")
    page = items[offset : offset + limit]
    return json_answer(
        {
            name: [render(each) for each in page],
            "limit": limit,
            "offset": offset,
            "more": offset + limit < len(items),
            "total": len(items) if request.get("total") == "true" else None,
        }
    )


def _whole(request: SimRequest, name: str, default: int) -> int:
    value = request.get(name)
    if value is None:
        return default
    if not value.isascii() or not value.isdigit():
        raise RefusedError(400, 2001, "Invalid Input Provided", f"{name} must be a number")
    return int(value)


def _zone(account: Account, request: SimRequest) -> tzinfo:
    name = request.get("time_zone")
    if name is None:
        return account.zone
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):  # OSError: a folder of zones such as America
        raise RefusedError(400, 2001, "Invalid Input Provided", "Time zone is invalid") from None


def _moment(request: SimRequest, name: str, zone: tzinfo) -> datetime | None:
    """Return a time parameter; without an offset it is in ``zone``."""
    value = request.get(name)
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RefusedError(400, 2001, "Invalid Input Provided", f"{name} is invalid") from None


_FILTERS: dict[str, Callable[[Incident, Account], set[str]]] = {
    "user_ids": lambda incident, _account: {user.id for user, _ in incident.assigned},
    "service_ids": lambda incident, _account: {incident.service.id},
    "team_ids": lambda _incident, account: {account.directory.team.id},
    "urgencies": lambda incident, _account: {incident.urgency},
}


def _routes(table: dict[str, Handler]) -> list[tuple[str, re.Pattern[str], Handler]]:
    routes = []
    for line, handler in table.items():
        method, path = line.split()
        routes.append((method, re.compile(path.replace("{id}", "(?P<id>[^/]+)")), handler))
    return routes


ROUTES = _routes(
    {
        "GET /log_entries": _log_entries,
        "GET /log_entries/{id}": _log_entry,
        "GET /incidents": _incidents,
        "GET /incidents/{id}": _incident,
        "GET /incidents/{id}/log_entries": _log_entries,
        "GET /incidents/{id}/notes": _notes,
        "GET /users": _users,
        "GET /users/me": _me,
        "GET /users/{id}": _user,
        "GET /services": _all("services", lambda of: of.services, records.service),
        "GET /services/{id}": _one("service", lambda of: of.services, records.service),
        "GET /escalation_policies": _all("escalation_policies", lambda of: of.policies, records.policy),
        "GET /escalation_policies/{id}": _one("escalation_policy", lambda of: of.policies, records.policy),
        "GET /teams": _all("teams", lambda of: [of.team], lambda team, _: records.team(team)),
        "GET /teams/{id}": _one("team", lambda of: [of.team], lambda team, _: records.team(team)),
        "GET /abilities": _abilities,
        "GET /abilities/{id}": _ability,
    }
    | writing.ENDPOINTS
)
