"""The connector's objects, built from PagerDuty's resources: exactly its fields, whatever PagerDuty adds or omits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json

INCIDENT_FIELDS = (
    "id",
    "summary",
    "html_url",
    "created_at",
    "status",
    "incident_key",
    "last_status_change_at",
    "urgency",
)
USER_TEXTS = ("id", "name", "email", "time_zone", "role", "job_title")
USER_LISTS = ("contact_methods", "notification_rules", "teams", "coordinated_incidents")


def incident(resource: Json) -> Json:
    """Return the object Incident."""
    return {name: resource.get(name) for name in INCIDENT_FIELDS} | {
        "assignedUserId": lenient_json.assigned_user(resource),
        "escalation_policy": lenient_json.get_object(resource, "escalation_policy"),
    }


def user(resource: Json) -> Json:
    """Return the object User."""
    lists = {name: lenient_json.get_objects(resource, name) for name in USER_LISTS}
    return {name: resource.get(name) for name in USER_TEXTS} | {"billed": resource.get("billed")} | lists


def added_note(resource: Json, user_id: str) -> Json:
    """Return the object AddNoteResponse."""
    author = {"id": lenient_json.get_text(lenient_json.get_object(resource, "user"), "id") or user_id}
    note = {
        "id": lenient_json.get_text(resource, "id"),
        "user": author,
        "content": lenient_json.get_text(resource, "content") or "",
        "created_at": lenient_json.get_text(resource, "created_at"),
    }
    return {"user": author, "note": note}


def new_incident(key: str) -> Json:
    """Return the object NewIncident."""
    return {"incident_key": key}
