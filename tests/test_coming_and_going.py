"""What a daemon finds when it starts, and leaves when it ends: nothing that is held by nobody."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon import config, queue
from tests.api import living
from tests.delivery.lines import WANTED, fill, rows, until
from tests.receivers import SECRET, Receiver, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.config import Settings
    from daemon.database import Database

CONFIGURATION = """
database: {{url: "{database}"}}
api: {{listen: null}}
connections:
  acme: {{api_key: key, api_url: "http://127.0.0.1:1"}}
targets:
  ops: {{url: "{url}", secret: {secret}}}
"""
LAME = {  # what keeps results from being written, and nothing else
    "sqlite": ["CREATE TRIGGER lame BEFORE INSERT ON attempts BEGIN SELECT RAISE(ABORT, 'lame'); END"],
    "postgresql": ["ALTER TABLE attempts ADD CONSTRAINT lame CHECK (false) NOT VALID"],
}


def written(folder: Path, database: str, url: str) -> Settings:
    """A configuration with one target."""
    path = folder / "config.yaml"
    path.write_text(CONFIGURATION.format(database=database.replace("+psycopg", ""), url=url, secret=SECRET))
    return config.load(path, os.environ)


def changed(database: Database, *statements: sa.Executable | str) -> None:
    """Change the database by hand."""

    def change(tx: sa.Connection) -> None:
        for each in statements:
            tx.execute(sa.text(each) if isinstance(each, str) else each)

    database.write_now(change)


async def test_a_daemon_that_cannot_write_what_it_did_leaves_nothing_that_it_holds(
    tmp_path: Path, live: Database, database_url: str
) -> None:
    receiver = Receiver(lambda _request: Reply(delay=0.5))
    fill(live, ["P1", "P1", "P2"], ["ops"])
    async with receiver.serving() as url:
        settings = written(tmp_path, database_url, url)
        async with living.running(settings):
            await receiver.until(lambda each: len(each.got) == 2)
            changed(live, *LAME["sqlite" if live.is_sqlite else "postgresql"])
        assert {row.claimed_by for row in rows(live)} == {None}
        changed(live, "DROP TRIGGER lame" if live.is_sqlite else "ALTER TABLE attempts DROP CONSTRAINT lame")
        async with living.running(settings):
            await until(live, {"delivered": 3})


async def test_what_is_held_by_nobody_that_is_known_is_sent_by_who_starts(
    tmp_path: Path, live: Database, database_url: str
) -> None:
    receiver = Receiver()
    fill(live, ["P1", "P1"], ["ops"])
    live.write_now(lambda tx: queue.claim(tx, WANTED, "forgotten", live.now(tx)))
    async with receiver.serving() as url, living.running(written(tmp_path, database_url, url)):
        await until(live, {"delivered": 2})
