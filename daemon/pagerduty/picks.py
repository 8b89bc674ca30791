"""Lists to pick from: incidents, users and escalation policies, with the fields that distinguish them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.model import Json  # noqa: TC001 - the API reads the annotations
from daemon.pagerduty import lookups
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Collection

    from daemon.pagerduty.client import Client


@dataclass(frozen=True, slots=True)
class IncidentPick:
    """An open incident: the connector's object, with the names of its service and assignees."""

    id: str
    summary: str | None
    html_url: str | None
    created_at: str | None
    status: str | None
    incident_key: str | None
    assignedUserId: str | None  # noqa: N815 - the connector's spelling
    last_status_change_at: str | None
    escalation_policy: Json
    urgency: str | None
    service: str | None
    assignees: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserPick:
    """A user: the connector's object, with the address of his page."""

    id: str
    name: str | None
    email: str | None
    time_zone: str | None
    billed: bool | None
    role: str | None
    contact_methods: list[Json]
    notification_rules: list[Json]
    job_title: str | None
    teams: list[Json]
    coordinated_incidents: list[Json]
    html_url: str | None


@dataclass(frozen=True, slots=True)
class PolicyPick:
    """An escalation policy; the connector's object has no properties of its own."""

    id: str
    name: str | None
    html_url: str | None


async def incidents(client: Client, text: str | None) -> list[IncidentPick]:
    """Return the newest open incidents whose title, number or service name contains the text."""
    records = await lookups.newest_incidents(client, text)
    texts = ("summary", "html_url", "created_at", "status", "incident_key", "last_status_change_at", "urgency")
    return [
        IncidentPick(
            id=identity,
            assignedUserId=lenient_json.assigned_user(record),
            escalation_policy=lenient_json.get_object(record, "escalation_policy"),
            service=lenient_json.get_text(lenient_json.get_object(record, "service"), "summary"),
            assignees=tuple(
                lenient_json.get_text(who, "summary") or who["id"] for who, _ in lenient_json.assignments(record)
            ),
            **_texts(record, texts),
        )
        for identity, record in _identified(records)
    ]


async def users(client: Client, text: str | None) -> list[UserPick]:
    """Return the users whose name or e-mail address contains the text."""
    records = await lookups.users(client, text)
    return [
        UserPick(
            id=identity,
            name=lenient_json.get_text(record, "name"),
            email=lenient_json.get_text(record, "email"),
            time_zone=lenient_json.get_text(record, "time_zone"),
            billed=record["billed"] if isinstance(record.get("billed"), bool) else None,
            role=lenient_json.get_text(record, "role"),
            contact_methods=lenient_json.get_objects(record, "contact_methods"),
            notification_rules=lenient_json.get_objects(record, "notification_rules"),
            job_title=lenient_json.get_text(record, "job_title"),
            teams=lenient_json.get_objects(record, "teams"),
            coordinated_incidents=lenient_json.get_objects(record, "coordinated_incidents"),
            html_url=lenient_json.get_text(record, "html_url"),
        )
        for identity, record in _identified(records)
    ]


async def escalation_policies(client: Client, text: str | None) -> list[PolicyPick]:
    """Return the escalation policies whose name contains the text."""
    records = await lookups.escalation_policies(client, text)
    return [
        PolicyPick(id=identity, **_texts(record, ("name", "html_url"))) for identity, record in _identified(records)
    ]


def _texts(record: Json, names: Collection[str]) -> dict[str, str | None]:
    return {name: lenient_json.get_text(record, name) for name in names}


def _identified(records: list[Json]) -> list[tuple[str, Json]]:
    """Return the records that have an id, each with its id."""
    return [(identity, record) for record in records if (identity := lenient_json.get_text(record, "id"))]
