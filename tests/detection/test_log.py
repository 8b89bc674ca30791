"""Events from log entries: each event type, their order, and entries without an event."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import detection, triggers
from daemon.detection.order import in_order
from tests.conftest import START
from tests.detection.stories import HISTORY, Reader, Story, iso

if TYPE_CHECKING:
    import random


def test_each_event_type_of_the_connector_is_detected_once() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("assign", 0, "PA")
    story.entry("acknowledge", 60)
    story.entry("annotate", 70, note="looking")
    story.entry("resolve", 80)
    reader = Reader()
    assert reader.read(story.entries) == [
        "P1 triggered",
        "P1 assigned",
        "P1 acknowledged",
        "P1 annotated",
        "P1 resolved",
    ]
    assert reader.read(story.entries) == []


@pytest.mark.parametrize("entry", sorted(entry for entry, each in triggers.BY_LOG_ENTRY.items() if not each.operation))
def test_each_other_entry_is_one_event_in_order(entry: str) -> None:
    story, reader = Story(), Reader()
    kind = triggers.BY_LOG_ENTRY[entry]
    story.entry("trigger", 0)
    story.entry("acknowledge", 10)
    story.entry(entry.removesuffix("_log_entry"), 20)
    story.entry("resolve", 30)
    expected = ["P1 triggered", "P1 acknowledged", f"P1 {kind.name.removeprefix('incident.')}", "P1 resolved"]
    assert reader.read(story.entries) == expected
    assert reader.read(story.entries) == []


def test_an_entry_seen_before_its_type_was_known_never_becomes_an_event() -> None:
    story = Story()
    story.entry("trigger", 0)
    snoozed = story.entry("snooze", 10)
    story.entry("resolve", 30)
    assert Reader(seen={snoozed.id}).read(story.entries) == ["P1 triggered", "P1 resolved"]


def test_transitions_within_one_second_come_in_reverse_list_order() -> None:
    story = Story()
    story.entry("trigger", 5)
    story.entry("acknowledge", 5)
    story.entry("unacknowledge", 5)
    story.entry("acknowledge", 5, agent="PB")
    story.entry("resolve", 5)
    reader = Reader()
    assert reader.read(story.entries) == [
        "P1 triggered",
        "P1 acknowledged",
        "P1 unacknowledged",
        "P1 acknowledged",
        "P1 resolved",
    ]


def test_the_creating_entry_comes_first_even_when_its_assignment_is_listed_before_it() -> None:
    story = Story()
    story.incident("P1", 5, first_trigger_log_entry={"id": "R2"})
    story.entry("assign", 5, "PA")
    story.entry("trigger", 5)
    assert Reader().read(story.entries) == ["P1 triggered", "P1 assigned"]


def test_a_repeated_trigger_on_an_open_incident_is_not_an_event() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("trigger", 0)
    story.entry("trigger", 30)
    assert Reader().read(story.entries) == ["P1 triggered"]


def test_a_repeated_trigger_read_first_does_not_hide_the_creation() -> None:
    story = Story()
    first, again = story.entry("trigger", 0), story.entry("trigger", 30)
    reader = Reader()
    assert reader.read([again]) == []
    assert reader.read([first, again]) == ["P1 triggered"]


def test_without_the_id_of_its_first_entry_an_unknown_incident_is_new() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("trigger", 10)
    del story.incidents["P1"]["first_trigger_log_entry"]
    assert Reader().read(story.entries) == ["P1 triggered"]


def test_each_of_several_assignees_assigned_together_is_a_separate_event() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("assign", 0, "PA")
    story.entry("assign", 0, "PB")
    story.entry("escalate", 300, "PC", channel="timeout")
    assert Reader().read(story.entries).count("P1 assigned") == 3


def test_an_assignment_caused_by_a_delegation_is_not_a_second_event() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("delegate", 60, "PA", "PB")
    story.entry("assign", 60, "PA", channel="auto")
    story.entry("assign", 60, "PB", channel="auto")
    story.entry("assign", 60, "PC")
    story.entry("assign", 61, "PA")
    assert Reader().read(story.entries).count("P1 assigned") == 3


def test_a_manual_assignment_in_the_second_of_a_delegation_is_a_separate_event() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("delegate", 60, "PA")
    story.entry("assign", 60, "PA", channel="auto")
    story.entry("assign", 60, "PA", channel="website")
    assert Reader().read(story.entries).count("P1 assigned") == 2


def test_a_delegation_and_its_assignment_may_be_read_in_different_polls() -> None:
    story = Story()
    delegate = story.entry("delegate", 60, "PA")
    assign = story.entry("assign", 60, "PA", channel="auto")
    for first in (delegate, assign):
        reader = Reader()
        reader.read([first])
        reader.read([delegate, assign])
        assert reader.told == ["P1 assigned"], first.type


def test_an_assignment_a_second_before_a_delegation_to_the_same_user_is_a_separate_event() -> None:
    story = Story()
    created = [story.entry("trigger", 0), story.entry("assign", 0, "PA", channel="auto")]
    story.entry("delegate", 0, "PA")
    story.entry("assign", 0, "PA", channel="auto")
    for first in ([], created):
        reader = Reader()
        reader.read(first)
        reader.read(story.entries)
        assert reader.told == ["P1 triggered", "P1 assigned", "P1 assigned"], len(first)


def test_each_delegation_absorbs_one_assignment_and_another_one_is_a_separate_event() -> None:
    story = Story()
    story.entry("trigger", 0)
    for kind, channel in (("delegate", "website"), ("assign", "auto"), ("reopen", "website"), ("assign", "auto")):
        story.entry(kind, 60, *([] if kind == "reopen" else ["PA"]), channel=channel)
    assert Reader().read(story.entries) == ["P1 triggered", "P1 assigned", "P1 reopened", "P1 assigned"]
    for kind, user_id in (("delegate", "PA"), ("delegate", "PB"), ("assign", "PA"), ("assign", "PB")):
        story.entry(kind, 90, user_id, channel="auto" if kind == "assign" else "website")
    assert Reader().read(story.entries).count("P1 assigned") == 4


def test_a_delegation_without_assignees_takes_them_from_its_assignments() -> None:
    story = Story()
    story.entry("delegate", 60)
    story.entry("assign", 60, "PA", channel="auto")
    detected = detection.read(
        "acme", {}, story.entries[::-1], (), history=HISTORY, read_at=START, now=START + timedelta(minutes=2)
    )
    assert [[each["id"] for each in event.payload["assignees"]] for event in detected.events] == [["PA"]]


def test_an_acknowledgement_that_times_out_is_an_event_and_so_is_the_next_one() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("acknowledge", 10)
    story.entry("unacknowledge", 1810, channel="timeout")
    reader = Reader()
    assert reader.read(story.entries) == ["P1 triggered", "P1 acknowledged", "P1 unacknowledged"]
    assert reader.snapshots["P1"].status == "triggered"
    story.entry("acknowledge", 1900)
    assert reader.read(story.entries) == ["P1 acknowledged"]


def test_a_reopened_incident_can_be_acknowledged_and_resolved_again() -> None:
    story = Story()
    for kind, at in (("trigger", 0), ("resolve", 10), ("acknowledge", 20), ("resolve", 30)):
        story.entry(kind, at)
    assert Reader().read(story.entries) == ["P1 triggered", "P1 resolved", "P1 acknowledged", "P1 resolved"]


def test_incidents_resolved_by_a_merge_are_resolved() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("trigger", 1, incident="P2")
    story.entry("merge", 60, incident="P2")
    story.entry("resolve", 60, incident="P1")
    assert Reader().read(story.entries) == ["P1 triggered", "P2 triggered", "P1 resolved"]


def test_a_note_in_a_resolution_is_an_event_before_the_resolution() -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("resolve", 60, note="fixed")
    assert Reader().read(story.entries) == ["P1 triggered", "P1 annotated", "P1 resolved"]


def test_a_note_in_both_places_is_one_event_in_any_order_of_entries() -> None:
    story = Story()
    resolve = story.entry("resolve", 60, note="fixed")
    note = story.entry("annotate", 61, note="fixed")
    other = story.entry("annotate", 62, note="post mortem follows")
    for first in ([resolve], [note], [resolve, note]):
        reader = Reader()
        reader.read(first)
        reader.read([resolve, note, other])
        assert sorted(reader.told) == ["P1 annotated", "P1 annotated", "P1 resolved"]


def test_a_separate_note_and_a_resolution_note_with_the_same_text_are_two_events() -> None:
    story = Story()
    story.entry("annotate", 60, note="fixed")
    story.entry("resolve", 62, note="fixed")
    assert Reader().read(story.entries) == ["P1 annotated", "P1 annotated", "P1 resolved"]


def test_a_note_event_has_text_user_and_time() -> None:
    story = Story()
    story.entry("annotate", 60, note="looking", agent="PBOB")
    detected = detection.read("acme", {}, story.entries, (), history=HISTORY, read_at=START, now=START)
    at = iso(START + timedelta(seconds=60))
    assert detected.events[0].payload["note"] == {
        "id": None,
        "content": "looking",
        "user": {"id": "PBOB"},
        "created_at": at,
    }


def test_unknown_types_are_remembered_and_yield_no_event() -> None:
    story = Story()
    story.entry("notify", 0)
    story.entry("something_new", 1)
    reader = Reader()
    assert reader.read(story.entries) == []
    assert reader.seen == {"R1", "R2"}


def test_a_late_entry_becomes_an_event_when_it_appears_and_undoes_nothing() -> None:
    story = Story()
    trigger, acknowledge, resolve = (
        story.entry("trigger", 0),
        story.entry("acknowledge", 10),
        story.entry("resolve", 20),
    )
    reader = Reader()
    assert reader.read([trigger, resolve]) == ["P1 triggered", "P1 resolved"]
    assert reader.read([trigger, acknowledge, resolve]) == ["P1 acknowledged"]
    assert reader.snapshots["P1"].status == "resolved"


def test_entries_before_the_history_limit_are_remembered_but_never_become_events() -> None:
    story = Story()
    old = story.entry("trigger", -7200)
    reader = Reader()
    assert reader.read([old]) == []
    assert reader.seen == {old.id}


def test_an_incident_older_than_the_history_limit_yields_new_events_but_not_its_creation() -> None:
    story = Story()
    story.incident("P1", -7200)
    story.entry("annotate", 10, note="still here")
    reader = Reader()
    assert reader.read(story.entries) == ["P1 annotated"]
    assert reader.reconcile({"P1": story.incidents["P1"]}) == []


def test_the_creating_entry_is_an_event_even_if_its_incident_is_dated_just_before_the_history_limit() -> None:
    story = Story()
    created = (HISTORY - START).total_seconds()
    story.incident("P1", created - 1, first_trigger_log_entry={"id": "R1"})
    story.entry("trigger", created)
    assert Reader().read(story.entries) == ["P1 triggered"]


def test_entries_dated_just_before_their_incident_still_determine_its_state() -> None:
    story = Story()
    story.incident("P1", 11, first_trigger_log_entry={"id": "R1"})
    story.entry("trigger", 10)
    story.entry("resolve", 10)
    reader = Reader()
    assert reader.read(story.entries) == ["P1 triggered", "P1 resolved"]
    story.incident("P1", 11, status="resolved", last_status_change_at=iso(START + timedelta(seconds=11)))
    assert reader.reconcile({"P1": story.incidents["P1"]}) == []


def test_a_baseline_yields_no_events_and_remembers_everything() -> None:
    story = Story()
    story.entry("trigger", 0)
    detected = detection.baseline(story.entries, story.incidents, baseline_at=START, read_at=START)
    reader = Reader(snapshots={each.incident_id: each for each in detected.snapshots}, seen=set(detected.seen))
    assert detected.events == ()
    assert reader.read(story.entries) == []
    story.entry("acknowledge", 60)
    assert reader.read(story.entries) == ["P1 acknowledged"]


@pytest.mark.parametrize("second", [0, 1])
def test_an_incident_created_between_the_two_reads_of_a_baseline_is_an_event(second: int) -> None:
    story = Story()
    story.entry("trigger", second)
    detected = detection.baseline([], story.incidents, baseline_at=START, read_at=START)
    reader = Reader(snapshots={each.incident_id: each for each in detected.snapshots}, seen=set(detected.seen))
    assert reader.read(story.entries) == ["P1 triggered"]


def test_an_event_contains_the_newest_incident_that_was_read() -> None:
    story = Story()
    older = story.entry("annotate", 10, note="one")
    story.incident("P1", 0, status="resolved")
    newer = story.entry("resolve", 20)
    reader = Reader(now=START + timedelta(minutes=2))
    reader.read([newer])
    detected = detection.read(
        "acme", reader.snapshots, [older], (), history=HISTORY, read_at=START + timedelta(minutes=1), now=START
    )
    assert detected.events[0].payload["incident"]["status"] == "resolved"


KINDS = [
    *("assign", "escalate", "acknowledge", "unacknowledge", "annotate", "resolve", "reopen", "notify", "trigger"),
    *("snooze", "priority_change"),
]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw a log of up to three incidents with shared seconds."""
    story = Story()
    at = 0
    for _ in range(draw(st.integers(1, 25))):
        at += draw(st.sampled_from([0, 0, 1, 30]))
        incident = draw(st.sampled_from(["P1", "P2", "P3"]))
        kind = draw(st.sampled_from(KINDS)) if incident in story.incidents else "trigger"
        users = draw(st.sampled_from([("PA",), ("PB",), ("PA", "PB")])) if kind in {"assign", "escalate"} else ()
        story.entry(kind, at, *users, incident=incident, note="n" if kind == "annotate" else None)
    return story


@given(stories(), st.randoms(use_true_random=False))
def test_however_polls_split_the_log_each_event_comes_once_and_in_order(story: Story, luck: random.Random) -> None:
    whole = Reader()
    whole.read(story.entries)
    polled = Reader()
    at = 0
    while at < len(story.entries):
        start, at = max(0, at - luck.randrange(6)), min(len(story.entries), at + luck.randrange(1, 6))
        polled.read(story.entries[start:at])
    assert polled.told == whole.told
    assert polled.ids == whole.ids
    assert len(set(polled.ids)) == len(polled.ids)


@given(stories(), st.randoms(use_true_random=False))
def test_whichever_entries_are_late_each_event_comes_once(story: Story, luck: random.Random) -> None:
    whole = Reader()
    whole.read(story.entries)
    late = Reader()
    visible: list[int] = []
    hidden = list(range(len(story.entries)))
    while hidden:
        visible += [hidden.pop(luck.randrange(len(hidden))) for _ in range(min(len(hidden), luck.randrange(1, 5)))]
        late.read([story.entries[position] for position in sorted(visible)])
    assert sorted(late.ids) == sorted(whole.ids)
    assert {key: each.status_at for key, each in late.snapshots.items()} == {
        key: each.status_at for key, each in whole.snapshots.items()
    }


@given(stories())
def test_entries_are_ordered_by_time_and_then_by_reverse_list_order(story: Story) -> None:
    ordered = in_order(story.entries[::-1])
    assert [entry.id for entry in ordered] == [entry.id for entry in story.entries]
    shuffled = [replace(entry, incident={}) for entry in story.entries[::-1]]
    assert [entry.id for entry in in_order(shuffled)] == [entry.id for entry in story.entries]
