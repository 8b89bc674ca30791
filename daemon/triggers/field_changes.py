"""Changes of an incident's fields, PagerDuty's own and an account's: how log entries and receivers see them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json
from daemon.triggers.event_type import Sample

if TYPE_CHECKING:
    from daemon.model import Json

KEYS = ("id", "name", "value", "old_value")
SAMPLE = Sample(changes={"fields": [{"id": "PTESTFIELD", "name": "region", "value": "eu", "old_value": 'the "us"'}]})


def read(_record: Json, channel: Json) -> Json:
    """Return each field's new value and the old one, as far as the entry has them."""
    changeset = lenient_json.get_object(channel, "changeset")
    changes = [
        *lenient_json.get_objects(changeset, "customer_fields"),
        *lenient_json.get_objects(changeset, "application_fields"),
    ]
    fields = [
        {key: each[key] for key in KEYS if key in each}
        for each in changes
        if lenient_json.get_text(each, "name") or lenient_json.get_text(each, "id")
    ]
    return {"fields": fields} if fields else {}


def entry(name: str, value: object, before: object) -> Json:
    """Return a changed field as PagerDuty's log writes it."""
    return {"id": f"PF{name.upper()[:5]}", "name": name, "namespace": "incidents", "value": value, "old_value": before}
