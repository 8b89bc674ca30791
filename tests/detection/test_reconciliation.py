"""Events from the incidents themselves when the log lacks entries, each sent once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import detection
from daemon.model import DetectedBy, IncidentStatus
from tests.conftest import START
from tests.detection.stories import HISTORY, Reader, Story, iso, user


def at(seconds: float) -> str:
    """Return a second of the story as PagerDuty writes it."""
    return iso(START + timedelta(seconds=seconds))


def assigned(*users: str, since: float) -> dict[str, object]:
    """Return the part of an incident that names its assignees."""
    return {"assignments": [{"at": at(since), "assignee": user(each)} for each in users]}


def acknowledged(by: str, since: float) -> dict[str, object]:
    """Return the part of an incident that names who acknowledged it."""
    return {
        "status": "acknowledged",
        "last_status_change_at": at(since),
        "acknowledgements": [{"at": at(since), "acknowledger": user(by)}],
    }


def resolved(since: float) -> dict[str, object]:
    """Return the part of an incident that shows that it is resolved."""
    return {"status": "resolved", "last_status_change_at": at(since), "resolved_at": at(since), "assignments": []}


def test_an_incident_without_log_entries_yields_all_its_events() -> None:
    story, reader = Story(), Reader()
    story.incident("P1", 0, **acknowledged("PA", 60), **assigned("PA", since=1))
    assert reader.reconcile(story.incidents) == ["P1 triggered", "P1 assigned", "P1 acknowledged"]
    assert reader.reconcile(story.incidents) == []


def test_reconciled_events_are_marked_as_such_and_name_the_agent() -> None:
    story = Story()
    incident = story.incident("P1", 0, **acknowledged("PA", 60))
    detected = detection.reconcile(
        "acme", {}, [("P1", incident)], history=HISTORY, settled=START + timedelta(days=1), read_at=START, now=START
    )
    assert {event.detected_by for event in detected.events} == {DetectedBy.RECONCILIATION}
    assert detected.events[-1].payload["agent"] == user("PA")
    assert detected.events[-1].occurred_at == START + timedelta(seconds=60)


def test_an_incident_missing_from_the_open_ones_is_resolved() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    reader.read(story.entries)
    story.incidents["P1"] |= resolved(50)
    assert reader.reconcile(story.incidents) == ["P1 resolved"]


def test_a_deleted_incident_is_forgotten_silently() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    reader.read(story.entries)
    assert reader.reconcile({"P1": None}) == []
    assert reader.snapshots["P1"].status is IncidentStatus.RESOLVED


def test_entries_that_appear_later_do_not_repeat_the_events() -> None:
    story, reader = Story(), Reader()
    story.incident("P1", 0, **acknowledged("PA", 60), **assigned("PA", "PB", since=1))
    reader.reconcile(story.incidents)
    told = list(reader.told)
    story.entry("trigger", 0)
    story.entry("assign", 1, "PA")
    story.entry("assign", 1, "PB")
    story.entry("acknowledge", 60)
    assert reader.read(story.entries) == []
    story.entry("acknowledge", 90)
    assert reader.read(story.entries) == ["P1 acknowledged"]
    assert reader.told == [*told, "P1 acknowledged"]


def test_an_event_that_left_no_trace_in_the_incident_is_sent_when_its_entry_appears() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    reader.read(story.entries)
    story.incidents["P1"] |= resolved(50)
    reader.reconcile(story.incidents)
    story.entry("acknowledge", 20)
    story.entry("resolve", 50)
    assert reader.read(story.entries) == ["P1 acknowledged"]


def test_an_entry_without_an_assignee_matches_only_one_expected_assignment() -> None:
    story, reader = Story(), Reader()
    story.incident("P1", 0, **assigned("PA", "PB", since=60))
    assert reader.reconcile(story.incidents) == ["P1 triggered", "P1 assigned"]
    for at_second in (60, 60, 60):
        story.entry("escalate", at_second)
    assert reader.read(story.entries) == ["P1 assigned"]


def test_changes_newer_than_the_overlap_are_left_to_the_log() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    reader.read(story.entries)
    story.incidents["P1"] |= acknowledged("PA", 60) | assigned("PA", since=60)
    story.incident("P2", 60)
    settled = START + timedelta(seconds=30)
    assert reader.reconcile(story.incidents, settled=settled) == []
    assert reader.reconcile(story.incidents) == ["P1 assigned", "P1 acknowledged", "P2 triggered"]


def test_an_incident_opened_before_the_history_limit_is_adopted_silently() -> None:
    story, reader = Story(), Reader()
    story.incident("P1", -7200, **acknowledged("PA", -7000), **assigned("PA", since=-7100))
    assert reader.reconcile(story.incidents) == []
    story.incidents["P1"] |= resolved(10)
    assert reader.reconcile(story.incidents) == ["P1 resolved"]


def test_a_reopened_incident_is_one_event_and_can_be_resolved_again() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    story.entry("resolve", 10)
    reader.read(story.entries)
    story.incidents["P1"] |= {"status": "triggered", "last_status_change_at": at(20)}
    assert reader.reconcile(story.incidents) == ["P1 reopened"]
    assert reader.reconcile(story.incidents) == []
    story.entry("reopen", 20)
    assert reader.read(story.entries) == []
    story.incidents["P1"] |= resolved(30)
    assert reader.reconcile(story.incidents) == ["P1 resolved"]


@pytest.mark.parametrize("since", [at(0), at(10), at(16), None])
def test_a_listing_that_lags_behind_the_log_reopens_nothing(since: str | None) -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    story.entry("resolve", 10)
    reader.read(story.entries)
    story.incidents["P1"] |= {"status": "triggered", "last_status_change_at": since}
    settled = START + timedelta(seconds=15)
    assert reader.reconcile(story.incidents, settled=settled) == []
    story.incidents["P1"] |= resolved(10)
    assert reader.reconcile(story.incidents, settled=settled) == []


def test_an_acknowledgement_that_ended_without_an_entry_is_not_an_event() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    story.entry("acknowledge", 10)
    reader.read(story.entries)
    story.incidents["P1"] |= {"status": "triggered", "last_status_change_at": at(20)}
    assert reader.reconcile(story.incidents) == []
    assert reader.snapshots["P1"].status is IncidentStatus.TRIGGERED


def test_an_assignment_back_to_an_earlier_assignee_is_an_event() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    story.entry("assign", 0, "PA")
    story.entry("assign", 30, "PB")
    reader.read(story.entries)
    story.incidents["P1"] |= assigned("PA", since=60)
    assert reader.reconcile(story.incidents) == ["P1 assigned"]


def test_two_assignees_assigned_in_two_seconds_are_not_repeated() -> None:
    story, reader = Story(), Reader()
    story.entry("trigger", 0)
    story.entry("assign", 0, "PA")
    story.entry("assign", 30, "PB")
    reader.read(story.entries)
    story.incidents["P1"] |= {
        "assignments": [{"at": at(0), "assignee": user("PA")}, {"at": at(30), "assignee": user("PB")}]
    }
    assert reader.reconcile(story.incidents) == []


def test_a_listing_read_before_the_log_decides_nothing() -> None:
    story, reader = Story(), Reader(now=START + timedelta(minutes=10))
    story.entry("trigger", 0)
    reader.read(story.entries)
    detected = detection.reconcile(
        "acme",
        reader.snapshots,
        [("P1", story.incidents["P1"] | resolved(50))],
        history=HISTORY,
        settled=START + timedelta(days=1),
        read_at=START + timedelta(minutes=9),
        now=START,
    )
    assert detected.events == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)


@given(
    st.sampled_from(["status", "created_at", "assignments", "acknowledgements", "last_status_change_at", "id"]), JSON
)
def test_an_incident_with_a_field_of_the_wrong_type_does_not_affect_the_others(field: str, value: object) -> None:
    story, reader = Story(), Reader()
    story.incident("P1", 0, **acknowledged("PA", 60), **assigned("PA", since=1))
    story.incidents["P1"][field] = value
    story.incident("P2", 0)
    assert "P2 triggered" in reader.reconcile(story.incidents)
