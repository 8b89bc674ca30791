"""What is stored about PagerDuty, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon import errors
from daemon.model import Rejected
from daemon.settings import Trigger
from daemon.storage import schema, store
from daemon.storage.database import Database
from tests.conftest import START
from tests.detection.stories import Story, user

if TYPE_CHECKING:
    from tests.conftest import ManualClock

INTERVAL = timedelta(seconds=30)
EVERY = {"fast": INTERVAL, "slow": timedelta(minutes=5)}


@pytest.fixture
def prepared(database: Database) -> Database:
    """A database that knows the connection acme, with its baseline, and two triggers."""
    triggers = [Trigger(name, ("incident.triggered",), "acme", ("ops",)) for name in EVERY]
    database.write_now(store.ensure, ["acme"], triggers, START)
    database.write_now(
        store.commit_baseline, "acme", [], {}, read_at=START, baseline_at=START - timedelta(hours=1), now=START
    )
    return database


def begin(database: Database, clock: ManualClock, instance: str = "one") -> object:
    """Ask to poll."""
    return database.write_now(store.begin_poll, "acme", EVERY, INTERVAL, instance, clock())


def end(database: Database, clock: ManualClock, error: str | None = None) -> object:
    """Say that the poll ended."""
    return database.write_now(store.end_poll, "acme", "one", error, clock())


def commit(database: Database, story: Story, clock: ManualClock) -> int:
    """Take in the story's whole log as one window."""
    entries = story.entries[::-1]
    return database.write_now(store.commit_window, "acme", entries, (), read_at=clock(), now=clock(), watermark=clock())


def journal(database: Database) -> list[str]:
    """The journal as kinds of events."""
    rows = database.read_now(store.journal, "acme", 0, 1000)
    return [event.type.removeprefix("incident.") for _, event in rows]


def test_a_trigger_runs_at_most_once_per_interval(prepared: Database, clock: ManualClock) -> None:
    claim = begin(prepared, clock)
    assert isinstance(claim, store.Claim)
    assert sorted(claim.due) == ["fast", "slow"]
    end(prepared, clock)
    assert begin(prepared, clock) == START + INTERVAL
    clock.advance(29.999)
    assert begin(prepared, clock) == START + INTERVAL
    clock.advance(0.001)
    claim = begin(prepared, clock)
    assert isinstance(claim, store.Claim)
    assert claim.due == ("fast",)


def test_only_one_of_several_replicas_gets_the_poll(prepared: Database, clock: ManualClock) -> None:
    answers: list[object] = []
    replicas = [Database(prepared.url.render_as_string(hide_password=False), clock=clock) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda number, replica: answers.append(begin(replica, clock, str(number))), args=each)
        for each in enumerate(replicas)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for replica in replicas:
        replica.close()
    assert len([answer for answer in answers if isinstance(answer, store.Claim)]) == 1


def test_a_poll_that_takes_long_keeps_others_away_until_its_daemon_is_dead(
    prepared: Database, clock: ManualClock
) -> None:
    prepared.write_now(store.register, "one", "host", "0", clock())
    begin(prepared, clock)
    clock.advance(40)
    prepared.write_now(store.heartbeat, "one", clock())
    assert not isinstance(begin(prepared, clock, "two"), store.Claim)
    clock.advance(59)
    assert prepared.write_now(store.bury, clock()) == []
    assert not isinstance(begin(prepared, clock, "two"), store.Claim)
    clock.advance(2)
    assert prepared.write_now(store.bury, clock()) == ["one"]
    assert isinstance(begin(prepared, clock, "two"), store.Claim)


def test_a_clock_that_is_set_back_stops_no_polls(prepared: Database, clock: ManualClock) -> None:
    begin(prepared, clock)
    end(prepared, clock)
    clock.advance(-3600)
    claim = begin(prepared, clock)
    assert isinstance(claim, store.Claim)
    assert sorted(claim.due) == ["fast", "slow"]


def test_how_polls_went_is_noted_with_the_time_since_when_they_fail(prepared: Database, clock: ManualClock) -> None:
    assert end(prepared, clock, "PagerDuty is down") is None
    clock.advance(30)
    assert end(prepared, clock, "still") == START
    assert end(prepared, clock) == START
    assert end(prepared, clock) is None


def test_a_window_commits_ids_snapshots_events_and_watermark_together_or_not_at_all(
    prepared: Database, clock: ManualClock
) -> None:
    story = Story()
    story.entry("trigger", 0)
    clock.advance(60)

    def break_off(tx: sa.Connection) -> None:
        entries = story.entries
        store.commit_window(tx, "acme", entries, (), read_at=clock(), now=clock(), watermark=clock())
        raise RuntimeError

    with pytest.raises(RuntimeError):
        prepared.write_now(break_off)
    assert journal(prepared) == []
    assert prepared.write_now(store.lock, "acme").watermark == START - timedelta(hours=1)
    assert prepared.read_now(store.known, "acme", ["R1"], ["P1"]) == (set(), {})
    assert commit(prepared, story, clock) == 1
    assert prepared.write_now(store.lock, "acme").watermark == clock()


def test_reading_a_window_again_adds_nothing(prepared: Database, clock: ManualClock) -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("acknowledge", 0)
    assert commit(prepared, story, clock) == 2
    assert commit(prepared, story, clock) == 0
    assert journal(prepared) == ["triggered", "acknowledged"]


def test_an_event_whose_id_the_journal_has_is_dropped_even_when_the_entry_was_forgotten(
    prepared: Database, clock: ManualClock
) -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("assign", 0, "PA")
    commit(prepared, story, clock)
    prepared.write_now(lambda tx: tx.execute(schema.seen_entries.delete()))
    prepared.write_now(lambda tx: tx.execute(schema.snapshots.delete()))
    assert commit(prepared, story, clock) == 0


def test_a_snapshot_comes_back_as_it_was_stored(prepared: Database, clock: ManualClock) -> None:
    story = Story()
    story.incident(
        "P1",
        0,
        status="acknowledged",
        last_status_change_at="2026-11-23T10:00:05Z",
        assignments=[{"at": "2026-11-23T10:00:01Z", "assignee": user("PA")}],
    )
    late = START + timedelta(hours=1)
    prepared.write_now(
        store.commit_reconciliation, "acme", list(story.incidents.items()), settled=late, read_at=late, now=late
    )
    _, snapshots = prepared.read_now(store.known, "acme", [], ["P1"])
    assert [each.type for each in snapshots["P1"].expected] == ["incident.assigned", "incident.acknowledged"]
    assert dict(snapshots["P1"].assigned) == {"PA": START + timedelta(seconds=1)}
    assert snapshots["P1"].incident == story.incidents["P1"]
    assert prepared.read_now(store.open_snapshots, "acme") == snapshots
    story.entry("trigger", 0)
    story.entry("assign", 1, "PA")
    story.entry("acknowledge", 5)
    clock.advance(7200)
    assert commit(prepared, story, clock) == 0


def test_a_watermark_never_moves_back(prepared: Database, clock: ManualClock) -> None:
    prepared.write_now(store.move_watermark, "acme", clock())
    prepared.write_now(store.move_watermark, "acme", clock() - timedelta(minutes=1))
    assert prepared.write_now(store.lock, "acme").watermark == clock()


def test_a_new_trigger_starts_at_the_journals_head_or_at_its_start(prepared: Database, clock: ManualClock) -> None:
    story = Story()
    for second in (0, 10, 20):
        story.entry("trigger", second, incident=f"P{second}")
    commit(prepared, story, clock)
    start = START + timedelta(seconds=5)
    new = [
        Trigger("head", ("incident.triggered",), "acme", ("ops",)),
        Trigger("earlier", ("incident.triggered",), "acme", ("ops",), start=start),
    ]
    prepared.write_now(store.ensure, ["acme"], new, clock())
    marks = prepared.write_now(store.watermarks, ["head", "earlier"])
    behind = {
        name: [each.incident_id for _, each in prepared.read_now(store.journal, "acme", mark, 9)]
        for name, mark in marks.items()
    }
    assert behind == {"head": [], "earlier": ["P10", "P20"]}
    prepared.write_now(
        store.ensure, ["acme"], [Trigger("head", ("incident.triggered",), "acme", ("ops",), start=start)], clock()
    )
    assert prepared.write_now(store.watermarks, ["head"]) == {"head": marks["head"]}


def test_a_record_that_was_set_aside_is_kept_once(prepared: Database, clock: ManualClock) -> None:
    for _ in range(2):
        rejected = [Rejected("no id", '{"type": "x"}')]
        prepared.write_now(store.commit_window, "acme", [], rejected, read_at=clock(), now=clock())
    rows = prepared.read_now(
        lambda tx: tx.execute(sa.select(schema.quarantine.c.reason, schema.quarantine.c.raw)).all()
    )
    assert [tuple(row) for row in rows] == [("no id", '{"type": "x"}')]


def test_a_connection_that_is_not_there_is_an_error_that_says_so(database: Database) -> None:
    with pytest.raises(errors.DatabaseError, match='no connection "nowhere"'):
        database.write_now(store.lock, "nowhere")


def test_what_is_old_is_forgotten_but_never_ahead_of_the_watermark(prepared: Database, clock: ManualClock) -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("resolve", 0)
    commit(prepared, story, clock)
    later = clock.advance(40 * 86400)
    retention = timedelta(days=30)
    assert prepared.write_now(store.prune, "acme", retention, later, 100) == 0
    prepared.write_now(store.move_watermark, "acme", later)
    assert prepared.write_now(store.prune, "acme", retention, later, 1) == 2
    assert prepared.write_now(store.prune, "acme", retention, later, 100) == 1
    assert prepared.read_now(store.known, "acme", ["R1", "R2"], ["P1"]) == (set(), {})


def test_an_event_stays_in_the_journal_until_every_trigger_has_read_it(prepared: Database, clock: ManualClock) -> None:
    story = Story()
    story.entry("trigger", 0)
    commit(prepared, story, clock)
    later = clock.advance(40 * 86400)
    nothing = sa.select(schema.messages.c.event_seq)
    args = (timedelta(days=30), ["fast", "slow"], later, 100, nothing)
    assert prepared.write_now(store.prune_journal, *args) == 0
    prepared.write_now(store.advance, ["fast"], 10)
    assert prepared.write_now(store.prune_journal, *args) == 0
    prepared.write_now(store.advance, ["slow"], 10)
    assert prepared.write_now(store.prune_journal, *args) == 1
