"""What actions and people look up: users, notes, incidents by key, and the pick-lists. One call each, not repeated.

Every function raises Temporary or Permanent if its call does not work.
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
    """A user, with contact methods, notification rules and teams in full."""
    query = [("include[]", part) for part in USER_PARTS]
    answer = await client.call("GET", paths.to("users", user_id), CallPriority.ACTION, query=query)
    return answer.one("user")


async def incident(client: Client, incident_id: str) -> Json:
    """An incident as it is now, read when there is room for a second call: what is then written fits what was seen."""
    answer = await client.call("GET", paths.to("incidents", incident_id), CallPriority.ACTION, room=2)
    found = answer.one("incident")
    if lenient_json.status(found) is None:
        message = f"PagerDuty answered with incident {incident_id} in no state that is known"
        raise errors.Temporary(message)
    return found


async def incidents(client: Client, wanted: set[str]) -> dict[str, Json]:
    """Those of the incidents that are found among the newest open ones and those that were resolved last, by id.

    PagerDuty cannot be asked for incidents by their ids. What is not found may be there all the same.
    """
    found: dict[str, Json] = {}
    for statuses, order in LISTS:
        for page in range(MOST_PAGES):
            if wanted <= found.keys():
                return found
            query = [("statuses[]", status) for status in statuses]
            query += [("date_range", "all"), ("sort_by", order), ("limit", str(MOST)), ("offset", str(page * MOST))]
            answer = await client.call("GET", "/incidents", CallPriority.ACTION, query=query, room=2)
            for each in answer.all("incidents"):
                identity = lenient_json.get_text(each, "id")
                if identity in wanted and identity is not None:
                    found.setdefault(identity, each)
            if answer.body.get("more") is not True:
                break
    return found


async def incidents_by_key(client: Client, key: str) -> list[Json]:
    """The incidents with that key, of whatever age."""
    query = [("incident_key", key), ("date_range", "all"), ("limit", str(MOST))]
    answer = await client.call("GET", "/incidents", CallPriority.ACTION, query=query)
    return answer.all("incidents")


async def notes(client: Client, incident_id: str) -> tuple[list[Json], datetime | None]:
    """An incident's notes, and PagerDuty's clock."""
    answer = await client.call("GET", paths.to("incidents", incident_id, "notes"), CallPriority.ACTION, room=2)
    return answer.all("notes"), answer.server_time


async def users(client: Client, text: str | None) -> list[Json]:
    """Users whose name or e-mail address holds the text, or the first ones."""
    return await _pick(client, "users", text)


async def escalation_policies(client: Client, text: str | None) -> list[Json]:
    """Escalation policies whose name holds the text, or the first ones."""
    return await _pick(client, "escalation_policies", text)


async def newest_incidents(client: Client, text: str | None) -> list[Json]:
    """The newest open incidents; with a text those whose title, number or service's name holds it.

    PagerDuty cannot search them: the newest hundred are read, and the others left out here.
    """
    query = [
        ("statuses[]", "triggered"),
        ("statuses[]", "acknowledged"),
        ("date_range", "all"),
        ("sort_by", "created_at:desc"),
        ("limit", str(MOST)),
    ]
    answer = await client.call("GET", "/incidents", CallPriority.ACTION, query=query)
    found = answer.all("incidents")
    wanted = (text or "").casefold()
    return [each for each in found if wanted in _words(each)]


async def _pick(client: Client, name: str, text: str | None) -> list[Json]:
    query = [("limit", str(MOST))] + ([("query", text)] if text else [])
    answer = await client.call("GET", f"/{name}", CallPriority.ACTION, query=query)
    return answer.all(name)


def _words(incident: Json) -> str:
    """Return the text that people search an incident by."""
    service = lenient_json.get_object(incident, "service")
    texts = (
        lenient_json.get_text(incident, "summary"),
        lenient_json.get_text(service, "summary"),
        lenient_json.get_text(incident, "id"),
    )
    return " ".join(text or "" for text in texts).casefold()
