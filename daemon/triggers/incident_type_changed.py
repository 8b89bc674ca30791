"""The event type incident.incident_type.changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json
from daemon.triggers.event_type import Difference, EventType, Sample, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _compare(before: Json, after: Json) -> list[Difference]:
    """Return the incident types before and after, if both readings name one and they differ."""
    types = [lenient_json.get_object(each, "incident_type") for each in (before, after)]
    old, new = (lenient_json.get_text(each, "name") for each in types)
    if old is None or new is None or old == new:
        return []
    return [Difference({"incident_type": {"from": {"name": old}, "to": {"name": new}}})]


def _change_type(_incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    return SimulatedChange({"incident_type": {"name": str(options["name"])}})


TYPE = EventType(
    name="incident.incident_type.changed",
    help="The type of an incident changed.",
    phrase="has a new incident type",
    in_webhooks_v3=True,
    compare=_compare,
    sample=Sample(changes={"incident_type": {"from": {"name": "major"}, "to": {"name": "incident_default"}}}),
    verbs=(Verb("change_type", None, _change_type, {"name": "major_incident"}),),
)
