"""The rows that retention removes and keeps, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from daemon.maintenance import retention
from daemon.storage import connections, journal, schema, snapshots
from tests.detection.stories import Story
from tests.harness.acme import commit_story, prepare

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock


@pytest.fixture
def acme(database: Database) -> Database:
    prepare(database)
    return database


def test_old_records_are_pruned_but_never_beyond_the_watermark(acme: Database, clock: ManualClock) -> None:
    story = Story()
    story.entry("trigger", 0)
    story.entry("resolve", 0)
    commit_story(acme, story, clock)
    later = clock.advance(40 * 86400)
    kept = timedelta(days=30)
    assert acme.write_now(retention.prune_connection, "acme", kept, later, 100) == 0
    acme.write_now(connections.move_watermark, "acme", later)
    assert acme.write_now(retention.prune_connection, "acme", kept, later, 1) == 2
    assert acme.write_now(retention.prune_connection, "acme", kept, later, 100) == 1
    assert acme.read_now(journal.seen, "acme", ["R1", "R2"]) == set()
    assert acme.read_now(snapshots.load, "acme", ["P1"]) == {}


def test_an_event_stays_in_the_journal_until_every_trigger_has_read_it(acme: Database, clock: ManualClock) -> None:
    story = Story()
    story.entry("trigger", 0)
    commit_story(acme, story, clock)
    later = clock.advance(40 * 86400)
    nothing = sa.select(schema.messages.c.event_seq)
    args = (["fast", "slow"], later - timedelta(days=30), 100, nothing)
    assert acme.write_now(journal.prune, *args) == 0
    acme.write_now(journal.advance, ["fast"], 10)
    assert acme.write_now(journal.prune, *args) == 0
    acme.write_now(journal.advance, ["slow"], 10)
    assert acme.write_now(journal.prune, *args) == 1
