"""The connector's objects, made of PagerDuty's resources: exactly its fields, whatever PagerDuty adds or leaves out."""

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


def incident(found: Json) -> Json:
    """Incident."""
    return {name: found.get(name) for name in INCIDENT_FIELDS} | {
        "assignedUserId": lenient_json.assigned_user(found),
        "escalation_policy": lenient_json.get_object(found, "escalation_policy"),
    }


def user(found: Json) -> Json:
    """User."""
    lists = {name: lenient_json.get_objects(found, name) for name in USER_LISTS}
    return {name: found.get(name) for name in USER_TEXTS} | {"billed": found.get("billed")} | lists


def added_note(found: Json, user_id: str) -> Json:
    """AddNoteResponse."""
    author = {"id": lenient_json.get_text(lenient_json.get_object(found, "user"), "id") or user_id}
    note = {
        "id": lenient_json.get_text(found, "id"),
        "user": author,
        "content": lenient_json.get_text(found, "content") or "",
        "created_at": lenient_json.get_text(found, "created_at"),
    }
    return {"user": author, "note": note}


def new_incident(key: str) -> Json:
    """NewIncident."""
    return {"incident_key": key}
