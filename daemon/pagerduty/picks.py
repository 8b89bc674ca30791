"""What people pick from: incidents, users and escalation policies, with what it takes to tell them apart."""

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
    """An open incident. ``assignees`` are the names of those whom it is assigned to."""

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
    """The newest open incidents whose title, number or service's name holds the text."""
    found = await lookups.newest_incidents(client, text)
    return [
        IncidentPick(
            identity,
            lenient_json.get_text(each, "summary"),
            lenient_json.get_text(each, "status"),
            lenient_json.get_text(each, "urgency"),
            lenient_json.get_text(each, "created_at"),
            lenient_json.get_text(lenient_json.get_object(each, "service"), "summary"),
            tuple(lenient_json.get_text(who, "summary") or who["id"] for who, _ in lenient_json.assignments(each)),
            lenient_json.get_text(each, "html_url"),
        )
        for identity, each in _identified(found)
    ]


async def users(client: Client, text: str | None) -> list[UserPick]:
    """Users whose name or e-mail address holds the text."""
    fields = ("name", "email", "job_title", "html_url")
    found = await lookups.users(client, text)
    return [
        UserPick(identity, *(lenient_json.get_text(each, name) for name in fields))
        for identity, each in _identified(found)
    ]


async def escalation_policies(client: Client, text: str | None) -> list[PolicyPick]:
    """Escalation policies whose name holds the text."""
    fields = ("name", "html_url")
    found = await lookups.escalation_policies(client, text)
    return [
        PolicyPick(identity, *(lenient_json.get_text(each, name) for name in fields))
        for identity, each in _identified(found)
    ]


def _identified(found: list[Json]) -> list[tuple[str, Json]]:
    """The records that can be picked: those with an id."""
    return [(identity, each) for each in found if (identity := lenient_json.get_text(each, "id"))]
