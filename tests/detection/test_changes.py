"""The changes in an event: only values from its log entry, and no contact details."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from daemon import detection
from daemon.model import LogEntry
from daemon.pagerduty import records
from tests.conftest import START
from tests.detection.stories import HISTORY, Story, iso

if TYPE_CHECKING:
    from daemon.model import Json

P1 = {"id": "PP1", "type": "priority", "summary": "P1", "name": "P1"}
P2 = {"id": "PP2", "type": "priority", "summary": "P2", "name": "P2"}
OWN = {"id": "PF1", "name": "environment", "namespace": "incidents", "value": ["production"], "old_value": None}
THEIRS = {"id": "PF2", "name": "service", "namespace": "incidents", "value": "PSVC2", "old_value": "PSVC1"}
JUNK: tuple[Any, ...] = (None, 7, True, "text", [], [None, 7, {}], {}, {"id": {}}, {"customer_fields": "x"})
UNTIL = {"type": "unacknowledge", "at": "2026-11-23T06:00:00-05:00"}


def changes(kind: str, **record: Any) -> Any:
    """Return the changes of the event of such a log entry."""
    story = Story()
    entry = story.entry(kind, 60)
    entry = replace(entry, raw=record)
    detected = detection.read("acme", {}, [entry], (), history=HISTORY, read_at=START, now=START)
    return detected.events[0].payload["changes"]


@pytest.mark.parametrize(("old", "new"), [(P1, P2), (None, P1), (P1, None)])
def test_a_priority_change_includes_the_previous_priority(old: Json | None, new: Json | None) -> None:
    channel = {"type": "website", "old_priority": old, "new_priority": new}
    assert changes("priority_change", channel=channel) == {"priority": {"from": old, "to": new}}


def test_a_snooze_includes_its_seconds_and_its_end() -> None:
    channel = {"type": "website", "duration": 3600}
    both = {"snooze": {"duration": 3600, "until": "2026-11-23T11:00:00Z"}}
    assert changes("snooze", channel=channel, changed_actions=[UNTIL, {"type": "escalate", "at": None}]) == both
    assert changes("snooze", channel=channel) == {"snooze": {"duration": 3600}}
    assert changes("snooze", changed_actions=[UNTIL]) == {"snooze": {"until": "2026-11-23T11:00:00Z"}}


@pytest.mark.parametrize("kind", ["custom_field_value_change", "field_value_change"])
def test_field_changes_include_the_new_and_previous_values(kind: str) -> None:
    values = changes(kind, channel={"changeset": {"customer_fields": [OWN], "application_fields": [THEIRS]}})
    assert values == {
        "fields": [
            {"id": "PF1", "name": "environment", "value": ["production"], "old_value": None},
            {"id": "PF2", "name": "service", "value": "PSVC2", "old_value": "PSVC1"},
        ]
    }
    assert changes(kind, channel={"changeset": {"customer_fields": [{"id": "PF1"}]}}) == {"fields": [{"id": "PF1"}]}


@pytest.mark.parametrize("name", ["title", "description"])
def test_a_title_or_description_change_includes_the_previous_one(name: str) -> None:
    kind = f"{name}_change"

    def fields(**channel: Any) -> Any:
        return changes(kind, type=f"{kind}_log_entry", channel=channel)

    both = {f"old_{name}": "Disk full", f"new_{name}": "Disk is full", "type": "website"}
    changed = {"name": name, "value": "Disk is full", "old_value": "Disk full"}
    assert fields(**both) == {"fields": [changed]}
    assert fields(**{f"new_{name}": "Disk is full"}) == {"fields": [{"name": name, "value": "Disk is full"}]}
    assert fields(**{f"old_{name}": 7, f"new_{name}": None}) is None
    assert fields(old_urgency="low", new_summary="x") is None


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("kind", ["priority_change", "snooze", "custom_field_value_change", "field_value_change"])
def test_values_missing_from_an_entry_are_not_invented(kind: str, junk: Any) -> None:
    invalid = dict.fromkeys(("old_priority", "new_priority"), junk if not isinstance(junk, dict) else None)
    for record in (
        {},
        {"channel": junk},
        {"channel": {"changeset": junk, "duration": None if junk == 7 else junk, **invalid}, "changed_actions": junk},
        {"channel": {"changeset": {"customer_fields": junk if junk != {"id": {}} else [junk]}}},
        {"summary": "Changed from P1 to P2 for 3600 seconds"},
    ):
        assert changes(kind, **record) is None


@pytest.mark.parametrize("kind", ["urgency_change", "unacknowledge", "reopen", "resolve", "repeat_escalation_path"])
def test_other_events_have_no_changes(kind: str) -> None:
    assert changes(kind, channel={"duration": 7, "new_priority": P1}) is None


def test_no_changes_contain_contact_details() -> None:
    reached = {"type": "sms", "address": "+1 555 0100"}
    record = {
        "id": "R1",
        "type": "priority_change_log_entry",
        "created_at": iso(START),
        "incident": {"id": "P1"},
        "channel": {"type": "website", "notification": reached, "new_priority": P1 | {"notification": reached}},
    }
    entry = records.log_entry(record)
    assert isinstance(entry, LogEntry)
    detected = detection.read("acme", {}, [entry], (), history=HISTORY, read_at=START, now=START)
    assert detected.events[0].payload["changes"] == {"priority": {"from": None, "to": P1}}


@pytest.mark.parametrize("junk", JUNK)
def test_a_status_update_has_its_text_and_one_without_is_an_event_too(junk: Any) -> None:
    assert changes("status_update", message="A fix is on its way.") == {
        "status_update": {"message": "A fix is on its way."}
    }
    assert changes("status_update", message=None if junk == "text" else junk) is None
