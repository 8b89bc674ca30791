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

NUMBER: Json = {"conference_number": "+1 202-555-0100", "conference_url": "https://meet.example.com/1"}
BRIDGES = (NUMBER, NUMBER | {"conference_number": None})
VALUES: dict[str, tuple[str, Json, Json]] = {
    "incident.incident_type.changed": ("incident_type", {"name": "incident_default"}, {"name": "major"}),
    "incident.service_updated": (
        "service",
        {"id": "PSVC1", "summary": "Search"},
        {"id": "PSVC2", "summary": "Billing"},
    ),
    "incident.conference_bridge.updated": ("conference_bridge", *BRIDGES),
}
RESPONDERS = {"incident.responder.added", "incident.responder.replied"}
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
    detected = detection.reconcile("acme", snapshots, [("P1", read)], history=HISTORY, settled=at, read_at=at, now=at)
    return detected.events, {**snapshots, **{each.incident_id: each for each in detected.snapshots}}


def test_this_test_covers_every_type_detected_by_comparison() -> None:
    assert VALUES.keys() | RESPONDERS == set(COMPARED)


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
        if key != "conference_bridge" or not isinstance(without.get(key, 7), dict | None):  # there was no bridge
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
    detected = detection.read("acme", known, entries[::-1], (), history=HISTORY, read_at=now, now=now)
    assert [each.type for each in detected.events] == ["incident.annotated", kind, "incident.annotated"]
    assert detected.events[1].detected_by is DetectedBy.RECONCILIATION
    after = {each.incident_id: each for each in detected.snapshots}
    assert reconcile(after, 120, incident(30, **{key: new}))[0] == ()


# --- parts that PagerDuty does not return everywhere


def asked(user: str, state: str = "pending", at: float = 20, answered: float | None = None) -> Json:
    """Return a responder as PagerDuty describes it, asked this many seconds after START."""
    return {
        "state": state,
        "user": {"id": user, "type": "user_reference", "summary": user.title(), "avatar_url": "https://example.com/a"},
        "incident": {"id": "P1", "type": "incident_reference"},
        "updated_at": iso(START + timedelta(seconds=at if answered is None else answered)),
        "message": "Please help.",
        "requester": {"id": "PALICE", "type": "user_reference", "summary": "Alice"},
        "requested_at": iso(START + timedelta(seconds=at)),
    }


def summaries(events: tuple[Event, ...]) -> list[tuple[str, str, str, float]]:
    """Return of each event the end of its type, the responder, the state, and the seconds since START."""
    detected = []
    for each in events:
        responder = each.payload["changes"]["responder"]
        seconds = (each.occurred_at - START).total_seconds()
        detected.append((each.type.rpartition(".")[2], responder["user"]["id"], responder["state"], seconds))
    return detected


def test_each_request_for_a_responder_and_each_answer_is_an_event() -> None:
    _, known = reconcile({}, 0, incident(incidents_responders=[]))
    both = [asked("PBOB"), asked("PCAROL", at=21)]
    events, known = reconcile(known, 60, incident(21, incidents_responders=both))
    assert summaries(events) == [("added", "PBOB", "pending", 20), ("added", "PCAROL", "pending", 21)]
    assert len({each.id for each in events}) == 2
    assert events[0].payload["agent"]["id"] == "PALICE"
    assert events[0].payload["changes"]["responder"] == {
        "user": {"id": "PBOB", "type": "user_reference", "summary": "Pbob"},
        "state": "pending",
        "message": "Please help.",
        "requester": {"id": "PALICE", "type": "user_reference", "summary": "Alice"},
    }
    answers = [asked("PBOB", "joined", answered=70), asked("PCAROL", "declined", at=21, answered=71)]
    events, known = reconcile(known, 120, incident(71, incidents_responders=answers))
    assert summaries(events) == [("replied", "PBOB", "joined", 70), ("replied", "PCAROL", "declined", 71)]
    assert events[0].payload["agent"]["id"] == "PBOB"
    assert reconcile(known, 180, incident(71, incidents_responders=answers))[0] == ()


def test_a_request_and_its_answer_between_two_readings_are_two_events() -> None:
    _, known = reconcile({}, 0, incident(incidents_responders=[]))
    events, _ = reconcile(known, 60, incident(30, incidents_responders=[asked("PBOB", "joined", answered=30)]))
    assert summaries(events) == [("added", "PBOB", "pending", 20), ("replied", "PBOB", "joined", 30)]


def test_a_user_who_is_asked_again_is_another_request_and_a_withdrawn_one_is_no_answer() -> None:
    _, known = reconcile({}, 0, incident(incidents_responders=[asked("PBOB", at=-9)]))
    withdrawn = asked("PBOB", "user_cancelled", at=-9, answered=30)
    events, known = reconcile(known, 60, incident(30, incidents_responders=[withdrawn]))
    assert events == ()
    events, _ = reconcile(known, 120, incident(90, incidents_responders=[asked("PBOB", at=90)]))
    assert summaries(events) == [("added", "PBOB", "pending", 90)]


@pytest.mark.parametrize("junk", [None, 7, "text", {}, "absent"])
def test_responders_are_compared_only_if_both_readings_list_them(junk: Any) -> None:
    without = incident(30) if junk == "absent" else incident(30, incidents_responders=junk)
    _, known = reconcile({}, 0, without)
    assert reconcile(known, 60, incident(40, incidents_responders=[asked("PBOB")]))[0] == ()
    _, known = reconcile({}, 0, incident(incidents_responders=[]))
    assert reconcile(known, 60, without)[0] == ()


@pytest.mark.parametrize("user", [None, {}, {"id": 7}, 7])
def test_a_malformed_responder_is_no_event(user: Any) -> None:
    _, known = reconcile({}, 0, incident(incidents_responders=[]))
    junk = [asked("PBOB") | {"user": user}, 7, None]
    assert reconcile(known, 60, incident(30, incidents_responders=junk))[0] == ()


def test_a_time_of_a_responder_in_the_future_or_without_sense_is_that_of_the_reading() -> None:
    for at, expected in (("2999-01-01T00:00:00Z", 60), ("soon", 30)):
        _, known = reconcile({}, 0, incident(incidents_responders=[]))
        odd = asked("PBOB") | {"requested_at": at}
        events, _ = reconcile(known, 60, incident(30, incidents_responders=[odd]))
        assert summaries(events) == [("added", "PBOB", "pending", expected)]


def test_a_new_bridge_is_an_event_and_its_removal_is_none() -> None:
    _, known = reconcile({}, 0, incident(conference_bridge=None))
    events, known = reconcile(known, 60, incident(30, conference_bridge=BRIDGES[0]))
    assert [each.payload["changes"] for each in events] == [{"conference_bridge": {"from": None, "to": BRIDGES[0]}}]
    assert reconcile(known, 120, incident(90, conference_bridge=None))[0] == ()


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("conference_bridge", *BRIDGES),
        ("incidents_responders", [asked("PBOB")], [asked("PBOB"), asked("PCAROL", at=50)]),
    ],
)
def test_a_log_entry_without_an_optional_part_of_the_incident_does_not_hide_its_change(
    part: str, old: Any, new: Any
) -> None:
    _, known = reconcile({}, 0, incident(**{part: old}))
    story = Story()
    story.entry("trigger", -7200)
    entry = story.entry("annotate", 10)
    story.incidents["P1"].update(incident(10))
    now = START + timedelta(seconds=20)
    detected = detection.read("acme", known, [entry], (), history=HISTORY, read_at=now, now=now)
    assert [each.type for each in detected.events] == ["incident.annotated"]
    assert detected.events[0].payload["incident"][part] == old
    after = {each.incident_id: each for each in detected.snapshots}
    assert len(reconcile(after, 120, incident(60, **{part: new}))[0]) == 1
