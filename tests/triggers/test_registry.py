"""The registry, and the subtypes of assignments."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon import triggers
from daemon.model import DetectedBy, Event
from tests.conftest import START

if TYPE_CHECKING:
    from daemon.model import Json

SERVICE = {"id": "PSVC1", "type": "service_reference"}
PERSON = {"id": "PALICE", "type": "user_reference"}


def assigned(
    entry: str | None = "assign", after: float = 0.0, *, by: Json | None = None, channel: str | None = None, **more: Any
) -> Event:
    """Return an assignment, this many seconds after its incident's creation."""
    record = {"id": "R1", "type": f"{entry}_log_entry", "channel": channel} if entry else None
    incident = {"id": "P1", "created_at": START.isoformat()} | more
    return Event(
        id="evt_1",
        type="incident.assigned",
        connection="acme",
        incident_id="P1",
        occurred_at=START + timedelta(seconds=after),
        detected_at=START,
        detected_by=DetectedBy.LOG_ENTRY,
        payload={"agent": by, "incident": incident, "assignees": [], "note": None, "log_entry": record},
    )


def test_every_event_type_module_is_in_the_registry() -> None:
    modules = [
        importlib.import_module(f"daemon.triggers.{each.name}") for each in pkgutil.iter_modules(triggers.__path__)
    ]
    types = [each.TYPE for each in modules if hasattr(each, "TYPE")]
    assert {each.name: each for each in types} == triggers.BY_NAME
    assert len(types) == len(triggers.REGISTRY) + len(triggers.SUBTYPES)
    entries = [entry for kind in triggers.REGISTRY.values() for entry in kind.log_entry_types]
    assert len(entries) == len(set(entries))


def test_the_demonstration_has_a_phrase_for_every_type() -> None:
    assert all(each.phrase for each in triggers.REGISTRY.values())


def test_subtypes_partition_the_log_entries_of_their_type() -> None:
    assert not triggers.SUBTYPES.keys() & triggers.REGISTRY.keys()
    for kind in triggers.SUBTYPES.values():
        whole = triggers.REGISTRY[kind.event_type]
        assert kind.log_entry_types < whole.log_entry_types
        assert kind.filters == whole.filters
    shared = [entry for kind in triggers.SUBTYPES.values() for entry in kind.log_entry_types]
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
    assert triggers.subtype(assigned(entry, 60, by=SERVICE, channel="auto")) == name


@pytest.mark.parametrize("after", [-1, 0, 1])
@pytest.mark.parametrize("known", [{"by": SERVICE}, {"channel": "auto"}, {"by": SERVICE, "channel": "auto"}, {}])
def test_the_assignment_at_the_creation_has_no_subtype(after: float, known: dict[str, Any]) -> None:
    assert triggers.subtype(assigned("assign", after, **known)) is None
    assert triggers.subtype(assigned(None, after, **known)) is None


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
def test_an_assignment_by_a_person_or_after_two_seconds_or_without_a_time_is_a_reassignment(event: Event) -> None:
    assert triggers.subtype(event) == "incident.reassigned"


def test_an_escalation_in_the_second_of_the_creation_is_an_escalation() -> None:
    assert triggers.subtype(assigned("escalate", by=SERVICE, channel="auto")) == "incident.escalated"


def test_other_events_have_no_subtype() -> None:
    event = assigned("trigger", 60)
    assert {triggers.subtype(Event(*_fields(event, kind))) for kind in triggers.REGISTRY} == {
        None,
        "incident.reassigned",
    }


def _fields(event: Event, kind: str) -> tuple[Any, ...]:
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
