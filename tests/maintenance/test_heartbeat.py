"""Heartbeats: who is silent is reaped, and who was reaped stops its work before it counts as alive again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.maintenance import heartbeat
from daemon.runtime.presence import Presence
from daemon.storage import instances, schema

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

LONGEST_TAKEOVER = timedelta(seconds=20)
TICK = timedelta(seconds=1)


class Replica:
    """A daemon's heartbeat, with what it calls."""

    def __init__(self, database: Database, clock: ManualClock, name: str) -> None:
        self.database, self.name, self.calls = database, name, list[str]()
        self.presence = Presence(instances.INSTANCE_TTL, lambda: clock().timestamp())
        me = heartbeat.Self(name, "host", "0", "a-hash")
        self.heartbeat = heartbeat.Heartbeat(
            database, me, self.presence, stop_work=self._stop_work, resume_work=lambda: self.calls.append("resume")
        )
        database.write_now(instances.register, name, "host", "0", clock(), "a-hash")

    async def _stop_work(self) -> None:
        assert not self.presence.is_current(), "work must end before the daemon counts as alive again"
        assert self.name not in registered(self.database), "work must end before the row is back"
        self.calls.append("stop")


def registered(database: Database) -> set[str]:
    """Return the ids of the daemons that have a row."""
    return database.read_now(lambda tx: set(tx.execute(sa.select(schema.instances.c.id)).scalars()))


def test_a_silent_daemon_is_taken_over_within_twenty_seconds(database: Database, clock: ManualClock) -> None:
    worst = instances.INSTANCE_TTL + heartbeat.EVERY + TICK
    assert worst <= LONGEST_TAKEOVER
    assert heartbeat.EVERY * 3 < instances.INSTANCE_TTL, "two heartbeats in a row may fail"


async def test_a_daemon_that_stood_still_stops_its_work_first(database: Database, clock: ManualClock) -> None:
    one, two = Replica(database, clock, "one"), Replica(database, clock, "two")
    for _ in range(4):  # "one" is stopped
        clock.advance(heartbeat.EVERY.total_seconds())
        await two.heartbeat.run()
    assert registered(database) == {"two"}
    assert two.calls == ["resume"]
    assert not one.presence.is_current()
    await one.heartbeat.run()  # it goes on
    assert (one.calls, registered(database)) == (["stop"], {"one", "two"})
    hashes = database.read_now(lambda tx: tx.execute(sa.select(schema.instances.c.config_hash)).scalars().all())
    assert list(hashes) == ["a-hash", "a-hash"]
    assert one.presence.is_current()
    clock.advance(heartbeat.EVERY.total_seconds())
    await one.heartbeat.run()
    assert one.calls == ["stop"]


async def test_after_an_outage_of_the_database_nobody_reaps_the_others(database: Database, clock: ManualClock) -> None:
    one, two = Replica(database, clock, "one"), Replica(database, clock, "two")
    clock.advance(60)  # neither could record a heartbeat
    await one.heartbeat.run()
    await two.heartbeat.run()
    await one.heartbeat.run()
    assert (one.calls, two.calls) == ([], [])
    assert registered(database) == {"one", "two"}
