"""Who polls a connection, and when its triggers run, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon import errors
from daemon.settings import Trigger
from daemon.storage import connections, instances, journal
from daemon.storage.connections import PollClaim
from daemon.storage.database import Database
from tests.conftest import START
from tests.detection.stories import Story
from tests.harness.acme import EVERY, INTERVAL, commit_story, prepare

if TYPE_CHECKING:
    from tests.conftest import ManualClock


@pytest.fixture
def acme(database: Database) -> Database:
    prepare(database)
    return database


def begin(database: Database, clock: ManualClock, instance: str = "one") -> object:
    return database.write_now(connections.begin_poll, "acme", EVERY, INTERVAL, instance, clock())


def end(database: Database, clock: ManualClock, error: str | None = None) -> object:
    return database.write_now(connections.end_poll, "acme", "one", error, clock())


def test_a_trigger_runs_at_most_once_per_interval(acme: Database, clock: ManualClock) -> None:
    claim = begin(acme, clock)
    assert isinstance(claim, PollClaim)
    assert sorted(claim.due) == ["fast", "slow"]
    end(acme, clock)
    assert begin(acme, clock) == START + INTERVAL
    clock.advance(29.999)
    assert begin(acme, clock) == START + INTERVAL
    clock.advance(0.001)
    claim = begin(acme, clock)
    assert isinstance(claim, PollClaim)
    assert claim.due == ("fast",)


def test_only_one_of_several_replicas_gets_the_poll(acme: Database, clock: ManualClock) -> None:
    answers: list[object] = []
    replicas = [Database(acme.url.render_as_string(hide_password=False), clock=clock) for _ in range(4)]
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
    assert len([answer for answer in answers if isinstance(answer, PollClaim)]) == 1


def test_a_long_poll_keeps_its_claim_until_its_daemon_is_dead(acme: Database, clock: ManualClock) -> None:
    acme.write_now(instances.register, "one", "host", "0", clock())
    begin(acme, clock)
    clock.advance(40)
    acme.write_now(instances.heartbeat, "one", clock())
    assert not isinstance(begin(acme, clock, "two"), PollClaim)
    clock.advance(instances.INSTANCE_TTL.total_seconds() - 1)
    assert acme.write_now(instances.reap, clock()) == []
    assert not isinstance(begin(acme, clock, "two"), PollClaim)
    clock.advance(2)
    assert acme.write_now(instances.reap, clock()) == ["one"]
    assert isinstance(begin(acme, clock, "two"), PollClaim)


def test_polls_continue_after_the_clock_is_set_back(acme: Database, clock: ManualClock) -> None:
    begin(acme, clock)
    end(acme, clock)
    clock.advance(-3600)
    claim = begin(acme, clock)
    assert isinstance(claim, PollClaim)
    assert sorted(claim.due) == ["fast", "slow"]


def test_poll_results_are_stored_with_the_time_of_the_first_failure(acme: Database, clock: ManualClock) -> None:
    def poll(error: str | None = None) -> object:
        begin(acme, clock)
        return end(acme, clock, error)

    assert poll("PagerDuty is down") is None
    clock.advance(30)
    assert poll("still") == START
    clock.advance(30)
    assert poll() == START
    clock.advance(30)
    assert poll() is None


def test_a_poll_that_another_daemon_took_over_records_no_result(acme: Database, clock: ManualClock) -> None:
    begin(acme, clock)
    acme.write_now(instances.reap, clock())  # "one" has no row: its claim is released
    clock.advance(30)
    assert isinstance(begin(acme, clock, "two"), PollClaim)
    end(acme, clock, "broke off")
    state = acme.write_now(connections.lock, "acme")
    assert (state.polled_by, state.failing_since) == ("two", None)


def test_a_watermark_never_moves_back(acme: Database, clock: ManualClock) -> None:
    acme.write_now(connections.move_watermark, "acme", clock())
    acme.write_now(connections.move_watermark, "acme", clock() - timedelta(minutes=1))
    assert acme.write_now(connections.lock, "acme").watermark == clock()


def test_a_new_trigger_starts_at_the_journals_head_or_at_its_start(acme: Database, clock: ManualClock) -> None:
    story = Story()
    for second in (0, 10, 20):
        story.entry("trigger", second, incident=f"P{second}")
    commit_story(acme, story, clock)
    start = START + timedelta(seconds=5)
    new = [
        Trigger("head", ("incident.triggered",), "acme", ("ops",)),
        Trigger("earlier", ("incident.triggered",), "acme", ("ops",), start=start),
    ]
    acme.write_now(connections.ensure, ["acme"], new, clock())
    marks = acme.write_now(journal.lock_watermarks, ["head", "earlier"])
    behind = {
        name: [each.incident_id for _, each in acme.read_now(journal.read, "acme", mark, 9)]
        for name, mark in marks.items()
    }
    assert behind == {"head": [], "earlier": ["P10", "P20"]}
    acme.write_now(
        connections.ensure, ["acme"], [Trigger("head", ("incident.triggered",), "acme", ("ops",), start=start)], clock()
    )
    assert acme.write_now(journal.lock_watermarks, ["head"]) == {"head": marks["head"]}


def test_an_unknown_connection_is_an_error(database: Database) -> None:
    with pytest.raises(errors.DatabaseError, match='no connection "nowhere"'):
        database.write_now(connections.lock, "nowhere")
