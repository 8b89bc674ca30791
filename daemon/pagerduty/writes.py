"""Writes to PagerDuty: one request each, never retried here.

``sender`` is the e-mail address of the user in whose name the change is made. Every function raises Temporary,
after which the change may or may not have been made, or Permanent, after which it was not.
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
    """Change an incident; return it as it is afterwards."""
    body = {"incident": {"type": "incident_reference"} | change}
    response = await client.call(
        "PUT", paths.to("incidents", incident_id), CallPriority.ACTION, body=body, sender=sender
    )
    return response.one("incident")


async def update_incidents(client: Client, changes: Mapping[str, Json], sender: str) -> dict[str, Json]:
    """Change up to ``MOST_AT_ONCE`` incidents, by id; return those that PagerDuty lists as changed.

    An incident that is missing from the result may or may not have been changed.
    """
    updates = [{"id": incident_id, "type": "incident_reference"} | change for incident_id, change in changes.items()]
    response = await client.call("PUT", "/incidents", CallPriority.ACTION, body={"incidents": updates}, sender=sender)
    changed = {}
    for record in lenient_json.get_objects(response.body, "incidents"):
        identity = lenient_json.get_text(record, "id")
        if identity in changes and identity is not None and lenient_json.status(record) and "error" not in record:
            changed[identity] = record
    return changed


async def snooze(client: Client, incident_id: str, seconds: int, sender: str) -> Json:
    """Snooze an acknowledged incident; return it as it is afterwards."""
    body = {"duration": seconds}
    response = await client.call(
        "POST", paths.to("incidents", incident_id, "snooze"), CallPriority.ACTION, body=body, sender=sender
    )
    return response.one("incident")


async def add_note(client: Client, incident_id: str, content: str, sender: str) -> Json:
    """Add a note to an incident; return the note."""
    body = {"note": {"content": content}}
    response = await client.call(
        "POST", paths.to("incidents", incident_id, "notes"), CallPriority.ACTION, body=body, sender=sender
    )
    return response.one("note")


async def trigger(client: Client, service_key: str, description: str, incident_key: str) -> Json:
    """Send a trigger event to a service; PagerDuty adds it to an open incident with the same key."""
    event = {
        "service_key": service_key,
        "event_type": "trigger",
        "description": description,
        "incident_key": incident_key,
    }
    return await client.create_event(EVENTS_V1, event, CallPriority.ACTION)
