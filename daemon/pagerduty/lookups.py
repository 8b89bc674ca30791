"""Lookups for actions and people: users, notes, incidents by key, and lists to pick from. One call each, no retry.

Every function raises Temporary or Permanent if its call fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon import errors
from daemon.model import CallPriority
from daemon.pagerduty import paths
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json
    from daemon.pagerduty.client import Client

MOST = 100
MOST_PAGES = 10
LISTS = ((("triggered", "acknowledged"), "incident_number:desc"), (("resolved",), "resolved_at:desc"))
USER_PARTS = ("contact_methods", "notification_rules", "teams")


async def user(client: Client, user_id: str) -> Json:
    """Return a user with full contact methods, notification rules and teams."""
    query = [("include[]", part) for part in USER_PARTS]
    response = await client.call("GET", paths.to("users", user_id), CallPriority.ACTION, query=query)
    return response.one("user")


async def incident(client: Client, incident_id: str) -> Json:
    """Return an incident's current state, read with room for a second call so that a write can follow at once."""
    response = await client.call("GET", paths.to("incidents", incident_id), CallPriority.ACTION, room=2)
    record = response.one("incident")
    if lenient_json.status(record) is None:
        message = f"PagerDuty returned incident {incident_id} in an unknown state"
        raise errors.Temporary(message)
    return record


async def incidents(client: Client, incident_ids: set[str]) -> dict[str, Json]:
    """Return, by id, those of the incidents that are among the newest open or the most recently resolved ones.

    PagerDuty cannot list incidents by their ids, so a missing incident may still exist.
    """
    records: dict[str, Json] = {}
    for statuses, order in LISTS:
        for page in range(MOST_PAGES):
            if incident_ids <= records.keys():
                return records
            query = [("statuses[]", status) for status in statuses]
            query += [("date_range", "all"), ("sort_by", order), ("limit", str(MOST)), ("offset", str(page * MOST))]
            response = await client.call("GET", "/incidents", CallPriority.ACTION, query=query, room=2)
            for record in response.all("incidents"):
                identity = lenient_json.get_text(record, "id")
                if identity in incident_ids and identity is not None:
                    records.setdefault(identity, record)
            if response.body.get("more") is not True:
                break
    return records


async def incidents_by_key(client: Client, key: str) -> list[Json]:
    """Return the incidents with this key, of any age."""
    query = [("incident_key", key), ("date_range", "all"), ("limit", str(MOST))]
    response = await client.call("GET", "/incidents", CallPriority.ACTION, query=query)
    return response.all("incidents")


async def last_entry(client: Client, incident_id: str, kind: str) -> str | None:
    """Return the id of an incident's newest log entry of a type, among the newest hundred; None without one."""
    path = paths.to("incidents", incident_id, "log_entries")
    query = [("limit", str(MOST)), ("time_zone", "UTC")]
    response = await client.call("GET", path, CallPriority.ACTION, query=query, room=2)
    records = response.all("log_entries")
    newest = next((each for each in records if lenient_json.get_text(each, "type") == kind), None)
    return lenient_json.get_text(newest, "id")


async def notes(client: Client, incident_id: str) -> tuple[list[Json], datetime | None]:
    """Return an incident's notes, and PagerDuty's clock."""
    response = await client.call("GET", paths.to("incidents", incident_id, "notes"), CallPriority.ACTION, room=2)
    return response.all("notes"), response.server_time


async def users(client: Client, text: str | None) -> list[Json]:
    """Return the users whose name or e-mail address contains the text, or the first ones."""
    return await _pick(client, "users", text)


async def escalation_policies(client: Client, text: str | None) -> list[Json]:
    """Return the escalation policies whose name contains the text, or the first ones."""
    return await _pick(client, "escalation_policies", text)


async def newest_incidents(client: Client, text: str | None) -> list[Json]:
    """Return the newest open incidents; with a text, those whose title, number or service name contains it.

    PagerDuty cannot search incidents: the newest hundred are read and filtered here.
    """
    query = [
        ("statuses[]", "triggered"),
        ("statuses[]", "acknowledged"),
        ("date_range", "all"),
        ("sort_by", "created_at:desc"),
        ("limit", str(MOST)),
    ]
    response = await client.call("GET", "/incidents", CallPriority.ACTION, query=query)
    records = response.all("incidents")
    search = (text or "").casefold()
    return [record for record in records if search in _words(record)]


async def _pick(client: Client, name: str, text: str | None) -> list[Json]:
    query = [("limit", str(MOST))] + ([("query", text)] if text else [])
    response = await client.call("GET", f"/{name}", CallPriority.ACTION, query=query)
    return response.all(name)


def _words(incident: Json) -> str:
    """Return the text that people search an incident by."""
    service = lenient_json.get_object(incident, "service")
    texts = (
        lenient_json.get_text(incident, "summary"),
        lenient_json.get_text(service, "summary"),
        lenient_json.get_text(incident, "id"),
    )
    return " ".join(text or "" for text in texts).casefold()
