"""Event types that no log entry reports: two readings of an incident show them, in reconciliation and in the log."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon import detection, triggers
from daemon.model import DetectedBy
from tests.conftest import START
from tests.detection.stories import HISTORY, Story, iso

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.model import Event, Json, Snapshot

VALUES: dict[str, tuple[str, Json, Json]] = {
    "incident.incident_type.changed": ("incident_type", {"name": "incident_default"}, {"name": "major"}),
    "incident.service_updated": (
        "service",
        {"id": "PSVC1", "summary": "Search"},
        {"id": "PSVC2", "summary": "Billing"},
    ),
}
COMPARED = [name for name, each in triggers.REGISTRY.items() if each.compare is not None]


def incident(updated: float | None = 0, /, **values: Any) -> Json:
    """Return an incident created an hour ago and changed this many seconds after START."""
    times = {} if updated is None else {"updated_at": iso(START + timedelta(seconds=updated))}
    created = iso(HISTORY - timedelta(hours=1))
    return {"id": "P1", "status": "triggered", "created_at": created, "last_status_change_at": created} | times | values


def reconcile(
    snapshots: Mapping[str, Snapshot], after: float, read: Json
) -> tuple[tuple[Event, ...], dict[str, Snapshot]]:
    """Return the result of a reconciliation this many seconds after START, and the snapshots after it."""
    at = START + timedelta(seconds=after)
    found = detection.reconcile("acme", snapshots, [("P1", read)], history=HISTORY, settled=at, read_at=at, now=at)
    return found.events, {**snapshots, **{each.incident_id: each for each in found.snapshots}}


def test_this_test_covers_every_type_detected_by_comparison() -> None:
    assert VALUES.keys() == set(COMPARED)


@pytest.mark.parametrize("kind", VALUES)
def test_a_changed_value_is_one_event(kind: str) -> None:
    key, old, new = VALUES[kind]
    first, known = reconcile({}, 0, incident(**{key: old}))
    events, known = reconcile(known, 60, incident(30, **{key: new}))
    assert (first, reconcile(known, 120, incident(30, **{key: new}))[0]) == ((), ())
    assert [(each.type, each.detected_by) for each in events] == [(kind, DetectedBy.RECONCILIATION)]
    assert events[0].occurred_at == START + timedelta(seconds=30)
    assert events[0].payload["changes"] == {key: {"from": old, "to": new}}
    assert events[0].payload["incident"][key] == new
    again, _ = reconcile(known, 180, incident(150, **{key: old}))
    assert [each.payload["changes"] for each in again] == [{key: {"from": new, "to": old}}]
    assert again[0].id != events[0].id


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("junk", [None, 7, "text", [], {}, {"id": None, "name": None}, {"id": 7, "name": 7}])
def test_a_value_missing_from_one_snapshot_is_not_compared(kind: str, junk: Any) -> None:
    key, value, _ = VALUES[kind]
    for without in (incident(30), incident(30, **{key: junk})):
        _, known = reconcile({}, 0, without)
        assert reconcile(known, 60, incident(40, **{key: value}))[0] == ()
        _, known = reconcile({}, 0, incident(**{key: value}))
        assert reconcile(known, 60, without)[0] == ()


@pytest.mark.parametrize("kind", VALUES)
def test_an_outdated_snapshot_causes_no_change_now_or_later(kind: str) -> None:
    key, old, new = VALUES[kind]
    _, known = reconcile({}, 0, incident(**{key: new}))
    events, known = reconcile(known, 60, incident(-30, **{key: old}))
    assert events == ()
    assert reconcile(known, 120, incident(**{key: new}))[0] == ()


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("updated", [None, 0])
def test_without_a_time_of_change_the_time_of_reading_is_used(kind: str, updated: float | None) -> None:
    key, old, new = VALUES[kind]
    _, known = reconcile({}, 0, incident(updated, **{key: old}))
    events, _ = reconcile(known, 60, incident(updated, **{key: new}))
    assert [each.occurred_at for each in events] == [START + timedelta(seconds=60)]


@pytest.mark.parametrize("kind", VALUES)
def test_a_change_in_an_embedded_incident_takes_its_place_in_the_log_order(kind: str) -> None:
    key, old, new = VALUES[kind]
    _, known = reconcile({}, 0, incident(**{key: old}))
    story = Story()
    story.entry("trigger", -7200)
    entries = [story.entry("annotate", 10), story.entry("annotate", 50)]
    story.incidents["P1"].update(incident(30, **{key: new}))
    now = START + timedelta(seconds=60)
    found = detection.read("acme", known, entries[::-1], (), history=HISTORY, read_at=now, now=now)
    assert [each.type for each in found.events] == ["incident.annotated", kind, "incident.annotated"]
    assert found.events[1].detected_by is DetectedBy.RECONCILIATION
    after = {each.incident_id: each for each in found.snapshots}
    assert reconcile(after, 120, incident(30, **{key: new}))[0] == ()
