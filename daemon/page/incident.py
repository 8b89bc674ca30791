"""/incidents/{id}: one incident's story: events, deliveries and actions in one line of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from daemon import errors, text
from daemon.views import action_list, delivery_list, event_list, incident_list
from daemon.views.event_list import EventItem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import sqlalchemy as sa
    from starlette.responses import Response

    from daemon.page.visit import Visit
    from daemon.views.action_list import ActionItem
    from daemon.views.delivery_list import DeliveryItem
    from daemon.views.incident_list import IncidentItem

MOST = 50  # of each kind, the last ones
KINDS = {"event": "events", "delivery": "deliveries", "action": "actions"}  # with the path of each one's list
BUTTONS = (
    ("AcknowledgeIncident", "Acknowledge"),
    ("ResolveIncident", "Resolve"),
    ("AddNoteToIncident", "Add a note"),
    ("SnoozeIncident", "Snooze"),
    ("ReassignIncident", "Reassign"),
    ("EscalateIncident", "Escalate"),
)
USELESS: dict[str | None, set[str]] = {
    "triggered": {"SnoozeIncident"},
    "acknowledged": {"AcknowledgeIncident"},
    "resolved": {name for name, _ in BUTTONS} - {"AddNoteToIncident"},
}


@dataclass(frozen=True, slots=True)
class StoryStep:
    """Something that happened at a time: an event, the end or creation of a delivery, or of an action."""

    at: datetime
    kind: str  # event, delivery or action
    state: str
    item: EventItem | DeliveryItem | ActionItem


async def show(visit: Visit) -> Response:
    """Show an incident."""
    incident = visit.path()

    def read(tx: sa.Connection) -> tuple[IncidentItem | None, list[StoryStep]]:
        steps = sorted(_steps(tx, incident), key=lambda each: each.at) if incident.isprintable() else []
        return incident_list.find(tx, incident), steps

    snapshot, steps = await visit.site.database.read(read)
    if snapshot is None and not steps:
        raise errors.NotFound(f"nothing is known about the incident {text.quoted(incident)} (it may have been pruned)")
    events = [each.item for each in steps if isinstance(each.item, EventItem)]
    connections = [each.item.connection for each in reversed(steps) if each.item.connection]
    known = _known(snapshot, incident_list.of_event(events[-1]) if events else None)
    values = {
        "incident": incident,
        "steps": steps,
        "known": known,
        "connection": known.connection if known else connections[0] if connections else None,
        "buttons": [
            (name, label) for name, label in BUTTONS if known is None or name not in USELESS.get(known.status, ())
        ],
        "most": MOST,
        "cut": [path for kind, path in KINDS.items() if sum(each.kind == kind for each in steps) == MOST],
        "now": visit.now,
    }
    return visit.page("incident.html", values)


def _known(snapshot: IncidentItem | None, last: IncidentItem | None) -> IncidentItem | None:
    """Return what is known about an incident; a snapshot without a title tells only the status."""
    if snapshot is None or last is None or snapshot.title != snapshot.id:
        return snapshot or last
    return replace(last, status=snapshot.status, status_at=snapshot.status_at)


def _steps(tx: sa.Connection, incident: str) -> Iterator[StoryStep]:
    for event in event_list.read(tx, incident=incident, limit=MOST, last=True).items:
        yield StoryStep(event.occurred_at, "event", "event", event)
    for delivery in delivery_list.read(tx, incident=incident, limit=MOST, last=True).items:
        yield StoryStep(delivery.finished_at or delivery.created_at, "delivery", delivery.state, delivery)
    for action in action_list.read(tx, incident=incident, limit=MOST, last=True).items:
        yield StoryStep(action.finished_at or action.created_at, "action", action.state, action)


ROUTES = (("GET", "/incidents/{id}", show),)
