"""Starting and stopping daemons: no claim is left without an owner."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import termios
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psutil
import sqlalchemy as sa

from daemon import config
from daemon.storage import claims, schema, targets
from daemon.storage.database import Database
from tests.api import running_daemon
from tests.cli import forked
from tests.delivery.loop_setup import WANTED, fill, rows, states
from tests.harness.eventually import eventually
from tests.harness.receivers import SECRET, Receiver, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings
    from tests.conftest import ManualClock

CONFIGURATION = """
database: {{url: "{database}"}}
api: {{listen: null}}
connections:
  acme: {{api_key: key, api_url: "http://127.0.0.1:1"}}
targets:
  ops: {{url: "{url}", secret: {secret}{more}}}
"""
LAME = {  # prevents results from being written, and nothing else
    "sqlite": ["CREATE TRIGGER lame BEFORE INSERT ON attempts BEGIN SELECT RAISE(ABORT, 'lame'); END"],
    "postgresql": ["ALTER TABLE attempts ADD CONSTRAINT lame CHECK (false) NOT VALID"],
}


def written(folder: Path, database: str, url: str, more: str = "") -> Settings:
    """Write and return a configuration with one target."""
    path = folder / "config.yaml"
    path.write_text(CONFIGURATION.format(database=database.replace("+psycopg", ""), url=url, secret=SECRET, more=more))
    return config.load(path, os.environ)


def changed(database: Database, *statements: sa.Executable | str) -> None:
    """Change the database by hand."""

    def change(tx: sa.Connection) -> None:
        for each in statements:
            tx.execute(sa.text(each) if isinstance(each, str) else each)

    database.write_now(change)


async def test_a_daemon_that_cannot_record_its_results_releases_its_claims(
    tmp_path: Path, live: Database, database_url: str
) -> None:
    receiver = Receiver(lambda _request: Reply(delay=0.5))
    fill(live, ["P1", "P1", "P2"], ["ops"])
    async with receiver.serving() as url:
        settings = written(tmp_path, database_url, url)
        async with running_daemon.running(settings):
            await eventually(lambda: len(receiver.got) >= 2)
            changed(live, *LAME["sqlite" if live.is_sqlite else "postgresql"])
        assert {row.claimed_by for row in rows(live)} == {None}
        changed(live, "DROP TRIGGER lame" if live.is_sqlite else "ALTER TABLE attempts DROP CONSTRAINT lame")
        async with running_daemon.running(settings):
            await eventually(lambda: states(live), {"delivered": 3})


async def test_a_starting_daemon_sends_deliveries_claimed_by_unknown_instances(
    tmp_path: Path, live: Database, database_url: str
) -> None:
    receiver = Receiver()
    fill(live, ["P1", "P1"], ["ops"])
    live.write_now(lambda tx: claims.claim(tx, WANTED, "forgotten", live.now(tx)))
    async with receiver.serving() as url, running_daemon.running(written(tmp_path, database_url, url)):
        await eventually(lambda: states(live), {"delivered": 2})


def standing(database: Database) -> Any:
    """Return the target's row."""
    return database.read_now(lambda tx: tx.execute(sa.select(schema.targets)).one())


async def test_a_start_keeps_requested_pauses_and_the_probes_of_other_daemons(
    tmp_path: Path, live: Database, database_url: str
) -> None:
    receiver = Receiver()
    fill(live, ["P1", "P2"], ["ops"])
    async with receiver.serving() as url:
        settings = written(tmp_path, database_url, url)
        for failing in (None, live.read_now(live.now)):
            asked = live.read_now(live.now) + timedelta(seconds=70)
            changed(live, schema.targets.update().values(failing_since=failing, blocked_until=asked))
            async with running_daemon.running(settings):
                pass
            assert (standing(live).blocked_until, receiver.got) == (asked, [])


def test_the_target_that_a_dead_daemon_was_probing_is_probed_at_once(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    changed(database, schema.targets.update().values(failing_since=clock(), probe_at=clock()))
    probe = database.write_now(lambda tx: claims.claim(tx, WANTED, "dead", clock()))["ops"]
    clock.advance(20)

    def bury(tx: sa.Connection) -> dict[str, claims.TargetClaim]:
        targets.free_probes(tx, ["dead"], clock())
        claims.release(tx, ["dead"])
        return claims.claim(tx, WANTED, "living", clock())

    assert database.write_now(bury)["ops"].runs == probe.runs != ()


def unread(pid: int) -> int:
    """Return how much of its standard input a process has not read."""
    pipe = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    finally:
        os.close(pipe)


async def test_a_hanging_template_does_not_delay_the_end_of_the_daemon(tmp_path: Path) -> None:
    receiver = Receiver()
    url = f"sqlite:///{tmp_path / 'pagerelay.db'}"
    database = Database(url)
    database.upgrade()
    fill(database, ["P1"], ["ops"])
    async with receiver.serving() as there:
        settings = written(tmp_path, url, there, ", format: template, template: '{}'")
        daemon = forked.Process(
            ["-c", str(settings.source), "run"], tmp_path, {**os.environ, forked.FIRST: forked.HASTY}
        )
        try:
            await eventually(lambda: len(receiver.accepted), 1, seconds=60)
            renderer = psutil.Process(daemon.pid).children()[0]
            renderer.suspend()
            try:
                fill(database, ["P2"], ["ops"], first=1)
                await eventually(lambda: rows(database)[1].claimed_by is not None)
                await eventually(lambda: unread(renderer.pid) > 0)
                began = time.monotonic()
                daemon.terminate()
                await eventually(daemon.poll, 0, seconds=20)
                assert time.monotonic() - began < 5
            finally:
                with contextlib.suppress(psutil.NoSuchProcess):  # it may have gone with the daemon
                    renderer.kill()
        finally:
            daemon.kill()
            daemon.wait()
    database.close()
