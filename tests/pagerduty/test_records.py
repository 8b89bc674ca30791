"""Reading PagerDuty's records: valid ones, rejected ones, and removed contact details."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from daemon.model import LogEntry, Rejected
from daemon.pagerduty import records

PERSON = {
    "id": "PA",
    "type": "user",
    "summary": "Alice",
    "email": "alice@example.com",
    "contact_methods": [{"type": "phone_contact_method", "address": "202-555-0100"}],
    "notification_rules": [{"id": "PRULE"}],
}
KEPT = {"id": "PA", "type": "user", "summary": "Alice"}
INCIDENT = {"id": "P1", "status": "triggered", "assignments": [{"at": "2026-11-23T10:00:00Z", "assignee": PERSON}]}
ENTRY = {
    "id": "R1",
    "type": "assign_log_entry",
    "created_at": "2026-11-23T10:00:00Z",
    "agent": PERSON,
    "assignees": [PERSON],
    "channel": {"type": "auto", "notification": {"type": "phone", "address": "202-555-0100"}},
    "incident": INCIDENT,
}


def test_contact_details_are_dropped_wherever_they_appear() -> None:
    entry = records.log_entry(ENTRY)
    assert isinstance(entry, LogEntry)
    assert entry.agent == KEPT
    assert entry.assignees == (KEPT,)
    assert entry.incident["assignments"][0]["assignee"] == KEPT
    assert entry.raw["channel"] == {"type": "auto"}
    assert "incident" not in entry.raw
    read = records.incident(INCIDENT)
    assert not isinstance(read, Rejected)
    assert read == ("P1", entry.incident)
    rejected = records.log_entry(ENTRY | {"type": None})
    assert isinstance(rejected, Rejected)
    assert "202-555" not in rejected.raw
    assert "alice@example.com" not in rejected.raw


def test_reading_a_record_does_not_modify_it() -> None:
    before = orjson.dumps(ENTRY)
    records.log_entry(ENTRY)
    records.incident(INCIDENT)
    assert orjson.dumps(ENTRY) == before


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"id": None}, "the record has no id"),
        ({"id": 7}, "the record has no id"),
        ({"id": ""}, "the record has no id"),
        ({"id": "P" * 256}, "the record has no id"),
        ({"id": "P\x00"}, "the record has no id"),
        ({"type": ["assign_log_entry"]}, "the record has no type"),
        ({"created_at": None}, "the record has no valid created_at"),
        ({"created_at": 1795428000}, "the record has no valid created_at"),
        ({"created_at": "yesterday"}, "the record has no valid created_at"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "the record has no valid created_at"),
        ({"incident": None}, "the record has no incident id"),
        ({"incident": "P1"}, "the record has no incident id"),
        ({"incident": {"id": 1}}, "the record has no incident id"),
    ],
)
def test_a_record_without_a_required_field_is_quarantined_with_reason_and_text(
    changed: dict[str, Any], reason: str
) -> None:
    record = {"id": "R1", "type": "assign_log_entry", "created_at": "2026-11-23T10:00:00Z", "incident": {"id": "P1"}}
    read = records.log_entry(record | changed)
    assert isinstance(read, Rejected)
    assert read.reason == reason
    assert orjson.loads(read.raw) == record | changed


@pytest.mark.parametrize("record", [None, 7, "text", [], [{"id": "R1"}]])
def test_a_record_that_is_not_an_object_is_quarantined(record: object) -> None:
    read = records.log_entry(record)
    assert isinstance(read, Rejected)
    assert read.reason == "the record is not an object"
    assert orjson.loads(read.raw) == record
    assert isinstance(records.incident(record), Rejected)


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"type": "annotate_log_entry", "channel": {"type": "note", "content": "a", "summary": "b"}}, "a"),
        ({"type": "annotate_log_entry", "channel": {"type": "note", "summary": "b"}}, "b"),
        ({"type": "annotate_log_entry", "channel": {"type": "note"}}, None),
        ({"type": "annotate_log_entry", "channel": {"content": {"text": "a"}, "summary": "b"}}, "b"),
        ({"type": "annotate_log_entry", "summary": "Note added by Alice."}, None),
        ({"type": "resolve_log_entry", "note": "fixed", "channel": {"summary": "b"}}, "fixed"),
        ({"type": "resolve_log_entry", "channel": {"summary": "b"}}, None),
        ({"type": "trigger_log_entry", "channel": {"summary": "b"}, "note": "c"}, None),
    ],
)
def test_the_text_of_a_note_is_read_from_its_channel_and_never_from_the_summary(
    more: dict[str, Any], note: str | None
) -> None:
    entry = records.log_entry(ENTRY | {"channel": None} | more)
    assert isinstance(entry, LogEntry)
    assert entry.note == note


@pytest.mark.parametrize(
    "written",
    ["2026-11-23T10:00:00Z", "2026-11-23T10:00:00+00:00", "2026-11-23T10:00:00.000000Z", "2026-11-23T05:00:00-05:00"],
)
def test_equal_times_in_different_notations_compare_equal(written: str) -> None:
    entry = records.log_entry(ENTRY | {"created_at": written})
    assert isinstance(entry, LogEntry)
    assert entry.created_at.isoformat() == "2026-11-23T10:00:00+00:00"
