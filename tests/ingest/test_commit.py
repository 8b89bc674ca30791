"""Storing a window of the log, a baseline and a reconciliation, on both databases."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon.ingest import commit
from daemon.maintenance import retention
from daemon.model import Rejected
from daemon.storage import connections, journal, schema, snapshots
from tests.conftest import START
from tests.detection.stories import Story, user
from tests.harness.acme import commit_story, event_types, prepare

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock


@pytest.fixture
def acme(database: Database) -> Database:
    prepare(database)
    return database


def test_a_window_commits_ids_snapshots_events_and_watermark_together_or_not_at_all(
    acme: Database, clock: ManualClock
) -> None:
    story = Story()
    story.entry("trigger", 0)
    clock.advance(60)

    def break_off(tx: sa.Connection) -> None:
        entries = story.entries
        commit.window(tx, "acme", entries, (), read_at=clock(), now=clock(), watermark=clock())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        acme.write_now(break_off)
    assert event_types(acme) == []
    assert acme.write_now(connections.lock, "acme").watermark == START - timedelta(hours=1)
    assert acme.read_now(journal.seen, "acme", ["R1"]) == set()
    assert acme.read_now(snapshots.load, "acme", ["P1"]) == {}
    assert commit_story(acme, story, clock) == 1
    assert acme.write_now(connections.lock, "acme").watermark == clock()


def test_reading_a_window_twice_adds_nothing(acme: Database, clock: ManualClock) -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("acknowledge", 0)
    assert commit_story(acme, story, clock) == 2
    assert commit_story(acme, story, clock) == 0
    assert event_types(acme) == ["triggered", "acknowledged"]


def test_an_event_already_in_the_journal_is_dropped_even_if_its_entry_was_forgotten(
    acme: Database, clock: ManualClock
) -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("assign", 0, "PA")
    commit_story(acme, story, clock)
    acme.write_now(lambda tx: tx.execute(schema.seen_entries.delete()))
    acme.write_now(lambda tx: tx.execute(schema.snapshots.delete()))
    assert commit_story(acme, story, clock) == 0


def test_a_snapshot_is_loaded_as_it_was_stored(acme: Database, clock: ManualClock) -> None:
    story = Story()
    story.incident(
        "P1",
        0,
        status="acknowledged",
        last_status_change_at="2026-11-23T10:00:05Z",
        assignments=[{"at": "2026-11-23T10:00:01Z", "assignee": user("PA")}],
    )
    late = START + timedelta(hours=1)
    acme.write_now(commit.reconciliation, "acme", list(story.incidents.items()), settled=late, read_at=late, now=late)
    loaded = acme.read_now(snapshots.load, "acme", ["P1"])
    assert [each.type for each in loaded["P1"].expected] == ["incident.assigned", "incident.acknowledged"]
    assert dict(loaded["P1"].assigned) == {"PA": START + timedelta(seconds=1)}
    assert loaded["P1"].incident == story.incidents["P1"]
    assert acme.read_now(snapshots.load_open, "acme") == loaded
    story.entry("trigger", 0)
    story.entry("assign", 1, "PA")
    story.entry("acknowledge", 5)
    clock.advance(7200)
    assert commit_story(acme, story, clock) == 0


def test_a_quarantined_record_is_stored_once(acme: Database, clock: ManualClock) -> None:
    for _ in range(2):
        rejected = [Rejected("no id", '{"type": "x"}')]
        acme.write_now(commit.window, "acme", [], rejected, read_at=clock(), now=clock())
    rows = acme.read_now(lambda tx: tx.execute(sa.select(schema.quarantine.c.reason, schema.quarantine.c.raw)).all())
    assert [tuple(row) for row in rows] == [("no id", '{"type": "x"}')]


def unknown(database: Database) -> dict[str, int]:
    """Return the counts of unknown types of the connection acme."""
    table = schema.unknown_entry_types
    return database.read_now(lambda tx: {row.type: row.entries for row in tx.execute(sa.select(table))})


def test_log_entries_of_unknown_types_are_counted_once_each_and_make_no_event(
    acme: Database, clock: ManualClock
) -> None:
    story = Story()
    for kind in ("trigger", "notify", "teleport", "teleport", "rename"):
        story.entry(kind, 0)
    assert commit_story(acme, story, clock) == 1
    assert commit_story(acme, story, clock) == 0, "the same window, read again"
    assert unknown(acme) == {"teleport_log_entry": 2, "rename_log_entry": 1}
    story.entry("teleport", 1)
    commit_story(acme, story, clock)
    assert unknown(acme) == {"teleport_log_entry": 3, "rename_log_entry": 1}


def test_the_first_poll_counts_unknown_types_too(database: Database, clock: ManualClock) -> None:
    database.write_now(connections.ensure, ["acme"], [], START)
    story = Story()
    story.entry("teleport", 0)
    times = {"read_at": clock(), "baseline_at": clock(), "now": clock()}
    database.write_now(commit.baseline, "acme", story.entries, {}, **times)
    assert unknown(database) == {"teleport_log_entry": 1}


def test_counts_of_unknown_types_are_bounded_and_forgotten_after_the_retention(
    acme: Database, clock: ManualClock
) -> None:
    story = Story()
    for number in range(150):
        story.entry(f"odd{number:03}", 0)
    story.entry("x" * 1000, 0)
    story.entry("nul\0", 0)
    commit_story(acme, story, clock)
    counts = unknown(acme)
    assert counts.pop("others") == 52
    assert set(counts) == {f"odd{number:03}_log_entry" for number in range(100)}
    prune = functools.partial(retention.prune_connection, name="acme", retention=timedelta(days=1), limit=500)
    acme.write_now(lambda tx: prune(tx, now=START + timedelta(hours=23)))
    assert len(unknown(acme)) == 101
    acme.write_now(lambda tx: prune(tx, now=START + timedelta(hours=25)))
    assert unknown(acme) == {}
