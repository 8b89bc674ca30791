"""A database with the connection acme, its baseline and two triggers, and helpers that commit a log to it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.ingest import commit
from daemon.settings import Trigger
from daemon.storage import connections, journal
from tests.conftest import START

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock
    from tests.detection.stories import Story

INTERVAL = timedelta(seconds=30)
EVERY = {"fast": INTERVAL, "slow": timedelta(minutes=5)}


def prepare(database: Database) -> None:
    """Store the baseline of acme, an hour before ``START``."""
    triggers = [Trigger(name, ("incident.triggered",), "acme", ("ops",)) for name in EVERY]
    baseline_at = START - timedelta(hours=1)
    database.write_now(connections.ensure, ["acme"], triggers, START)
    database.write_now(commit.baseline, "acme", [], {}, read_at=START, baseline_at=baseline_at, now=START)


def commit_story(database: Database, story: Story, clock: ManualClock) -> int:
    """Commit a story's whole log as one window; return how many events are new."""
    entries = story.entries[::-1]
    window = {"read_at": clock(), "now": clock(), "watermark": clock()}
    return len(database.write_now(commit.window, "acme", entries, (), **window))


def event_types(database: Database) -> list[str]:
    """Return the types of the journal's events, without ``incident.``."""
    rows = database.read_now(journal.read, "acme", 0, 1000)
    return [event.type.removeprefix("incident.") for _, event in rows]
