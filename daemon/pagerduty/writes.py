"""What changes something at PagerDuty: one request each, never repeated here.

``sender`` is the e-mail address of the user who does it. Every function raises Temporary,
after which the change may have been made or not, or Permanent, after which it was not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.model import CallPriority
from daemon.pagerduty import paths
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.model import Json
    from daemon.pagerduty.client import Client

MOST_AT_ONCE = 250
EVENTS_V1 = "/generic/2010-04-15/create_event.json"


async def update_incident(client: Client, incident_id: str, change: Json, sender: str) -> Json:
    """Change an incident; answers it as it is then."""
    body = {"incident": {"type": "incident_reference"} | change}
    answer = await client.call("PUT", paths.to("incidents", incident_id), CallPriority.ACTION, body=body, sender=sender)
    return answer.one("incident")


async def update_incidents(client: Client, changes: Mapping[str, Json], sender: str) -> dict[str, Json]:
    """Change up to ``MOST_AT_ONCE`` incidents, by id; answers those that PagerDuty shows changed.

    One that is not among them may have been changed or not.
    """
    updates = [{"id": incident_id, "type": "incident_reference"} | change for incident_id, change in changes.items()]
    answer = await client.call("PUT", "/incidents", CallPriority.ACTION, body={"incidents": updates}, sender=sender)
    changed = {}
    for each in lenient_json.get_objects(answer.body, "incidents"):
        identity = lenient_json.get_text(each, "id")
        if identity in changes and identity is not None and lenient_json.status(each) and "error" not in each:
            changed[identity] = each
    return changed


async def snooze(client: Client, incident_id: str, seconds: int, sender: str) -> Json:
    """Let an acknowledged incident sleep; answers it as it is then."""
    body = {"duration": seconds}
    answer = await client.call(
        "POST", paths.to("incidents", incident_id, "snooze"), CallPriority.ACTION, body=body, sender=sender
    )
    return answer.one("incident")


async def add_note(client: Client, incident_id: str, content: str, sender: str) -> Json:
    """Add a note to an incident; answers the note."""
    body = {"note": {"content": content}}
    answer = await client.call(
        "POST", paths.to("incidents", incident_id, "notes"), CallPriority.ACTION, body=body, sender=sender
    )
    return answer.one("note")


async def trigger(client: Client, service_key: str, description: str, incident_key: str) -> Json:
    """Send a trigger event to a service; PagerDuty folds it into an open incident with that key."""
    event = {
        "service_key": service_key,
        "event_type": "trigger",
        "description": description,
        "incident_key": incident_key,
    }
    return await client.create_event(EVENTS_V1, event, CallPriority.ACTION)
