"""The event type incident.field_values.updated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from daemon.triggers import field_changes
from daemon.triggers.event_type import EventType, SimulatedChange, Verb

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.model import Json


def _read_changes(record: Json, channel: Json) -> Json:
    """Return the fields of a changeset, or the old and the new title or description."""
    for name in ("title", "description"):
        values = {"value": channel.get(f"new_{name}"), "old_value": channel.get(f"old_{name}")}
        texts = {key: value for key, value in values.items() if isinstance(value, str)}
        if record.get("type") == f"{name}_change_log_entry":
            return {"fields": [{"name": name} | texts]} if texts else {}
    return field_changes.read(record, channel)


def _retitle(incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    title = str(options["title"])
    changeset = {"application_fields": [field_changes.entry("title", title, incident["title"])]}
    return SimulatedChange({"title": title}, {"changeset": changeset})


def _change_title(incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    title = str(options["title"])
    return SimulatedChange({"title": title}, {"old_title": incident["title"], "new_title": title})


def _change_description(incident: Json, options: Json, _now: datetime) -> SimulatedChange:
    text = str(options["description"])
    return SimulatedChange({"description": text}, {"old_description": incident["description"], "new_description": text})


TYPE = EventType(
    name="incident.field_values.updated",
    help="Fields of an incident changed, such as its title, description or service.",
    phrase="has a new title",
    log_entry_types=frozenset(
        {"field_value_change_log_entry", "title_change_log_entry", "description_change_log_entry"}
    ),
    read_changes=_read_changes,
    sample=replace(field_changes.SAMPLE, log_entry_type="field_value_change_log_entry"),
    verbs=(
        Verb("retitle", "field_value_change", _retitle, {"title": "Checkout answers with 502"}),
        Verb("change_title", "title_change", _change_title, {"title": "Checkout answers with 502"}),
        Verb("change_description", "description_change", _change_description, {"description": "See the runbook."}),
    ),
)
