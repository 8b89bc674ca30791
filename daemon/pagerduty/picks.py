"""Lists to pick from: incidents, users and escalation policies, with the fields that distinguish them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.pagerduty import lookups
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from daemon.model import Json
    from daemon.pagerduty.client import Client


@dataclass(frozen=True, slots=True)
class IncidentPick:
    """An open incident. ``assignees`` are the names of its assignees."""

    id: str
    summary: str | None
    status: str | None
    urgency: str | None
    created_at: str | None
    service: str | None
    assignees: tuple[str, ...]
    html_url: str | None


@dataclass(frozen=True, slots=True)
class UserPick:
    """A user."""

    id: str
    name: str | None
    email: str | None
    job_title: str | None
    html_url: str | None


@dataclass(frozen=True, slots=True)
class PolicyPick:
    """An escalation policy."""

    id: str
    name: str | None
    html_url: str | None


async def incidents(client: Client, text: str | None) -> list[IncidentPick]:
    """Return the newest open incidents whose title, number or service name contains the text."""
    records = await lookups.newest_incidents(client, text)
    return [
        IncidentPick(
            identity,
            lenient_json.get_text(record, "summary"),
            lenient_json.get_text(record, "status"),
            lenient_json.get_text(record, "urgency"),
            lenient_json.get_text(record, "created_at"),
            lenient_json.get_text(lenient_json.get_object(record, "service"), "summary"),
            tuple(lenient_json.get_text(who, "summary") or who["id"] for who, _ in lenient_json.assignments(record)),
            lenient_json.get_text(record, "html_url"),
        )
        for identity, record in _identified(records)
    ]


async def users(client: Client, text: str | None) -> list[UserPick]:
    """Return the users whose name or e-mail address contains the text."""
    fields = ("name", "email", "job_title", "html_url")
    records = await lookups.users(client, text)
    return [
        UserPick(identity, *(lenient_json.get_text(record, name) for name in fields))
        for identity, record in _identified(records)
    ]


async def escalation_policies(client: Client, text: str | None) -> list[PolicyPick]:
    """Return the escalation policies whose name contains the text."""
    fields = ("name", "html_url")
    records = await lookups.escalation_policies(client, text)
    return [
        PolicyPick(identity, *(lenient_json.get_text(record, name) for name in fields))
        for identity, record in _identified(records)
    ]


def _identified(records: list[Json]) -> list[tuple[str, Json]]:
    """Return the records that have an id, record with its id."""
    return [(identity, record) for record in records if (identity := lenient_json.get_text(record, "id"))]
