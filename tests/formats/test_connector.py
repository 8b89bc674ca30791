"""The format connector: the bodies of Microsoft's connector, property by property."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daemon import formats
from daemon.formats import samples
from daemon.model import Batch, Message
from daemon.settings import Options
from tests.formats.rendered import BARE, EVENTS, OTHERS, body, with_incident

PROPERTIES = [
    "id",
    "summary",
    "html_url",
    "created_at",
    "status",
    "incident_key",
    "assignedUserId",
    "last_status_change_at",
    "escalation_policy",
    "urgency",
]


@pytest.mark.parametrize("message", [*EVENTS, *BARE], ids=lambda message: message.type)
def test_an_event_is_a_list_with_one_incident_or_one_note(message: Message) -> None:
    document = body("connector", message)
    if message.type == "incident.annotated":
        assert document == {"notes": [{"content": samples.NOTE}]}
        return
    assert list(document) == ["incidents"]
    (incident,) = document["incidents"]
    assert list(incident) == PROPERTIES
    assert incident["id"] == "PTESTINCIDENT"
    assert isinstance(incident["escalation_policy"], dict)


def test_the_assigned_user_is_the_first_assignee_or_null() -> None:
    assert body("connector", EVENTS[0])["incidents"][0]["assignedUserId"] == "PTESTUSER"
    assert body("connector", with_incident(EVENTS[0], assignments=[]))["incidents"][0]["assignedUserId"] is None


@pytest.mark.parametrize("kind", ["incident.triggered", "incident.annotated"])
def test_a_batch_is_one_list_in_the_order_of_the_journal(kind: str) -> None:
    event = samples.event_of(samples.event(kind))
    events = [replace(event, incident_id=f"P{number}") for number in range(3)]
    document = body("connector", Message("msg_test", "test", kind, Batch(tuple(events))))
    if kind == "incident.annotated":
        assert document == {"notes": [{"content": samples.NOTE}] * 3}
    else:
        assert [incident["id"] for incident in document["incidents"]] == ["P0", "P1", "P2"]


@pytest.mark.parametrize("message", OTHERS, ids=lambda message: message.type)
def test_actions_and_alerts_are_not_supported(message: Any) -> None:
    assert formats.REGISTRY["connector"].content(message, Options()) is None
    assert not formats.REGISTRY["connector"].supports(message.type)
