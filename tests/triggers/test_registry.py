"""The registry, and which assignments have which narrower name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon import triggers
from daemon.model import DetectedBy, Event, EventType
from daemon.simulator import demo
from tests.conftest import START

if TYPE_CHECKING:
    from daemon.model import Json

SERVICE = {"id": "PSVC1", "type": "service_reference"}
PERSON = {"id": "PALICE", "type": "user_reference"}


def assigned(
    entry: str | None = "assign", after: float = 0.0, *, by: Json | None = None, channel: str | None = None, **more: Any
) -> Event:
    """An assignment, so many seconds after its incident's creation."""
    told = {"id": "R1", "type": f"{entry}_log_entry", "channel": channel} if entry else None
    incident = {"id": "P1", "created_at": START.isoformat()} | more
    return Event(
        id="evt_1",
        type=EventType.ASSIGNED,
        connection="acme",
        incident_id="P1",
        occurred_at=START + timedelta(seconds=after),
        detected_at=START,
        detected_by=DetectedBy.LOG_ENTRY,
        payload={"agent": by, "incident": incident, "assignees": [], "note": None, "log_entry": told},
    )


def test_every_type_of_event_has_its_line_in_the_registry_and_no_other() -> None:
    assert {name: kind.type.value for name, kind in triggers.REGISTRY.items()} == {each: each for each in EventType}
    entries = [entry for kind in triggers.REGISTRY.values() for entry in kind.log_entry_types]
    assert len(entries) == len(set(entries))


def test_the_demonstration_has_words_for_every_type() -> None:
    assert demo.VERBS.keys() == triggers.REGISTRY.keys()


def test_the_narrower_names_share_out_the_log_entries_of_their_type() -> None:
    assert not triggers.NARROWER.keys() & triggers.REGISTRY.keys()
    for kind in triggers.NARROWER.values():
        whole = triggers.REGISTRY[kind.type]
        assert kind.log_entry_types < whole.log_entry_types
        assert kind.filters == whole.filters
    shared = [entry for kind in triggers.NARROWER.values() for entry in kind.log_entry_types]
    assert sorted(shared) == sorted(triggers.REGISTRY["incident.assigned"].log_entry_types)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("assign", "incident.reassigned"),
        ("escalate", "incident.escalated"),
        ("delegate", "incident.delegated"),
        (None, "incident.reassigned"),
    ],
)
def test_an_assignment_is_named_after_its_log_entry(entry: str | None, name: str) -> None:
    assert triggers.narrower(assigned(entry, 60, by=SERVICE, channel="auto")) == name


@pytest.mark.parametrize("after", [-1, 0, 1])
@pytest.mark.parametrize("known", [{"by": SERVICE}, {"channel": "auto"}, {"by": SERVICE, "channel": "auto"}, {}])
def test_the_assignment_at_the_creation_has_no_narrower_name(after: float, known: dict[str, Any]) -> None:
    assert triggers.narrower(assigned("assign", after, **known)) is None
    assert triggers.narrower(assigned(None, after, **known)) is None


@pytest.mark.parametrize(
    "event",
    [
        assigned(after=2, channel="auto"),
        assigned(by=PERSON, channel="website"),
        assigned(by=PERSON),
        assigned(channel="auto", created_at=None),
        assigned(channel="auto", created_at=7),
    ],
)
def test_a_person_or_two_seconds_or_no_time_make_it_a_reassignment(event: Event) -> None:
    assert triggers.narrower(event) == "incident.reassigned"


def test_an_escalation_in_the_second_of_the_creation_is_one() -> None:
    assert triggers.narrower(assigned("escalate", by=SERVICE, channel="auto")) == "incident.escalated"


def test_other_events_have_no_narrower_name() -> None:
    event = assigned("trigger", 60)
    assert {triggers.narrower(Event(*_fields(event, kind))) for kind in EventType} == {None, "incident.reassigned"}


def _fields(event: Event, kind: EventType) -> tuple[Any, ...]:
    return (
        event.id,
        kind,
        event.connection,
        event.incident_id,
        event.occurred_at,
        event.detected_at,
        event.detected_by,
        {**event.payload, "log_entry": None},
    )
