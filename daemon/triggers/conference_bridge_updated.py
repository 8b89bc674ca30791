"""The event type incident.conference_bridge.updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json
from daemon.triggers.event_type import Difference, EventType, Sample, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json

PART = "conference_bridge"  # of an incident, in lists that were asked for it
KEYS = ("conference_number", "conference_url")


def _compare(before: Json, after: Json) -> list[Difference]:
    """Return the bridges before (None if there was none) and after. The removal of a bridge is not reported."""
    if PART not in before or not isinstance(before[PART], dict | None):
        return []
    old, new = (_bridge(each) for each in (before, after))
    return [Difference({PART: {"from": old, "to": new}})] if new is not None and new != old else []


def _bridge(incident: Json) -> Json | None:
    bridge = lenient_json.get_object(incident, PART)
    parts = {key: lenient_json.get_text(bridge, key) for key in KEYS}
    return parts if any(parts.values()) else None


def _change_bridge(_incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    return SimulatedChange({PART: {"conference_number": options["number"], "conference_url": options["url"]}})


TYPE = EventType(
    name="incident.conference_bridge.updated",
    help="The conference bridge of an incident was added or changed.",
    phrase="has a new conference bridge",
    in_webhooks_v3=True,
    compare=_compare,
    sample=Sample(
        changes={
            PART: {
                "from": None,
                "to": {"conference_number": "+1 202-555-0100,,1234#", "conference_url": "https://meet.example.com/1"},
            }
        }
    ),
    verbs=(
        Verb(
            "change_bridge",
            None,
            _change_bridge,
            {"number": "+1 202-555-0100,,1234#", "url": "https://meet.example.com/1"},
        ),
    ),
)
