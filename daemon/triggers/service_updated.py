"""The event type incident.service_updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json
from daemon.triggers.event_type import Difference, EventType, Sample, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json

KEYS = ("id", "type", "summary", "self", "html_url")
BEFORE = {"id": "PTESTBEFORE", "type": "service_reference", "summary": "Service before"}
AFTER = {"id": "PTESTSERVICE", "type": "service_reference", "summary": 'Test "service"'}


def _compare(before: Json, after: Json) -> list[Difference]:
    """Return the services before and after, if both readings name one and they differ."""
    services = [lenient_json.get_object(each, "service") for each in (before, after)]
    known, now = (lenient_json.get_text(each, "id") for each in services)
    if known is None or now is None or known == now:
        return []
    old, new = ({key: each[key] for key in KEYS if key in each} for each in services)
    return [Difference({"service": {"from": old, "to": new}})]


def _change_service(_incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    return SimulatedChange({"service": options["service"]})


TYPE = EventType(
    name="incident.service_updated",
    help="An incident was moved to another service.",
    phrase="has a new service",
    in_webhooks_v3=True,
    compare=_compare,
    sample=Sample(changes={"service": {"from": BEFORE, "to": AFTER}}),
    verbs=(Verb("change_service", None, _change_service, {"service": None}),),
)
