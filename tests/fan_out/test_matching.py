"""Which triggers get an event."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from daemon.fan_out.matching import Index
from daemon.model import DetectedBy, Event
from daemon.settings import Trigger, Where
from daemon.triggers import REGISTRY, SUBTYPES
from tests.conftest import START


def event(kind: str = "incident.triggered", *users: str, **incident: Any) -> Event:
    """Return an event of incident P1."""
    return Event(
        id="evt_1",
        type=kind,
        connection="acme",
        incident_id="P1",
        occurred_at=START,
        detected_at=START,
        detected_by=DetectedBy.LOG_ENTRY,
        payload={"incident": incident, "assignees": [{"id": user} for user in users] or None},
    )


def matched(found: Event, *triggers: Trigger) -> list[str]:
    """Return the names of the triggers that the event is for; alice@example.com is PALICE."""
    return list(named(found, *triggers))


def named(found: Event, *triggers: Trigger) -> dict[str, str]:
    """Return by which name the event is for each trigger."""
    return {each.trigger.name: each.type for each in Index(triggers, {"alice@example.com": "PALICE"}).match(found)}


def trigger(name: str, *on: str, **more: Any) -> Trigger:
    """Return a trigger on the connection acme."""
    return Trigger(name, on or ("incident.triggered",), "acme", ("ops",), **more)


def test_an_event_goes_to_every_trigger_of_its_type() -> None:
    triggers = trigger("b"), trigger("a"), trigger("c", "incident.resolved")
    assert matched(event(), *triggers) == ["a", "b"]


def test_a_user_is_matched_once_by_id_or_by_case_insensitive_e_mail() -> None:
    triggers = (
        trigger("id", "incident.assigned", user="PALICE"),
        trigger("mail", "incident.assigned", user="Alice@Example.com"),
        trigger("bob", "incident.assigned", user="PBOB"),
        trigger("anybody", "incident.assigned"),
    )
    assert matched(event("incident.assigned", "PALICE", "PCAROL"), *triggers) == ["anybody", "id", "mail"]


def test_a_trigger_may_subscribe_to_several_types_or_to_all() -> None:
    triggers = trigger("both", "incident.resolved", "incident.triggered"), trigger("all", "incident.*")
    assert named(event(), *triggers) == {"all": "incident.triggered", "both": "incident.triggered"}
    assert named(event("incident.resolved"), *triggers) == {"all": "incident.resolved", "both": "incident.resolved"}
    for kind in set(REGISTRY) - {"incident.triggered", "incident.resolved"}:
        assert named(event(kind, "PALICE"), *triggers) == {"all": kind}


@pytest.mark.parametrize(
    ("entry", "name"),
    [("assign", "incident.reassigned"), ("escalate", "incident.escalated"), ("delegate", "incident.delegated")],
)
def test_an_assignment_has_the_event_type_that_the_trigger_subscribed_to(entry: str, name: str) -> None:
    triggers = (
        trigger("all", "incident.*"),
        trigger("narrow", *SUBTYPES),
        trigger("wide", "incident.assigned"),
        trigger("wide and narrow", *SUBTYPES, "incident.assigned"),
        trigger("alice", *SUBTYPES, user="alice@example.com"),
        trigger("bob", *SUBTYPES, user="PBOB"),
        trigger("other", *(each for each in SUBTYPES if each != name)),
    )
    assignment = event("incident.assigned", "PALICE")
    assignment.payload["log_entry"] = {"type": f"{entry}_log_entry"}
    assert named(assignment, *triggers) == {
        "alice": name,
        "all": "incident.assigned",
        "narrow": name,
        "wide": "incident.assigned",
        "wide and narrow": "incident.assigned",
    }


def test_the_assignment_at_creation_goes_only_to_triggers_on_every_assignment() -> None:
    triggers = trigger("narrow", *SUBTYPES), trigger("wide", "incident.assigned"), trigger("all", "incident.*")
    found = event("incident.assigned", "PALICE", created_at=START.isoformat())
    found.payload["log_entry"] = {"type": "assign_log_entry", "channel": "auto"}
    assert list(named(found, *triggers)) == ["all", "wide"]


def test_an_incident_is_matched_by_id() -> None:
    triggers = trigger("p1", "incident.annotated", incident="P1"), trigger("p2", "incident.annotated", incident="P2")
    assert matched(event("incident.annotated"), *triggers) == ["p1"]


def test_where_requires_every_field_that_it_names() -> None:
    where = Where(
        services=frozenset({"S1", "S2"}),
        teams=frozenset({"T1"}),
        urgencies=frozenset({"high"}),
        escalation_policies=frozenset({"E1"}),
    )
    fits: dict[str, Any] = {
        "service": {"id": "S2"},
        "teams": [{"id": "T0"}, {"id": "T1"}],
        "urgency": "high",
        "escalation_policy": {"id": "E1"},
    }
    assert matched(event(**fits), trigger("all", where=where)) == ["all"]
    for name in fits:
        lacking = {key: value for key, value in fits.items() if key != name}
        assert matched(event(**lacking), trigger("all", where=where)) == [], name
        assert matched(event(**lacking | {name: 7}), trigger("all", where=where)) == [], name


def test_a_trigger_gets_no_events_from_before_its_start() -> None:
    early, late = trigger("early", start=START), trigger("late", start=START + timedelta(seconds=1))
    assert matched(event(), early, late) == ["early"]
