"""A clock that was set back delays nothing by as much."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from daemon.maintenance.clock import SetBack
from daemon.storage import instances, schema
from tests.harness import sample_data

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.storage.database import Database
    from tests.conftest import ManualClock

HOUR = timedelta(hours=1)


class Watch:
    """Two clocks: the database's, and one that is never set."""

    def __init__(self, database: Database, clock: ManualClock, *names: str) -> None:
        self.database, self.clock, self.seconds, self.woken = database, clock, 0.0, 0
        for name in names:
            database.write_now(instances.register, name, "host", "0", clock())
            clock.advance(1)
        self.chores = [SetBack(database, name, self._wake, lambda: self.seconds) for name in names]

    def _wake(self) -> None:
        self.woken += 1

    async def pass_time(self, seconds: float, set_by: float = 0.0) -> None:
        """Let time pass, while the clock is set as well; then let every daemon look."""
        self.seconds += seconds
        self.clock.advance(seconds + set_by)
        for chore in self.chores:
            await chore.run()

    def due(self) -> list[datetime]:
        """Return when the deliveries are due."""
        query = sa.select(schema.deliveries.c.next_attempt_at).order_by(schema.deliveries.c.id)
        return self.database.read_now(lambda tx: list(tx.execute(query).scalars()))


def fill(database: Database, now: datetime) -> None:
    """Put deliveries and an action into the queue that wait, and one that is due."""
    for number, at in enumerate((now - HOUR, now + timedelta(seconds=30), now + 2 * HOUR), 1):
        database.write_now(sample_data.insert, schema.deliveries, sample_data.delivery(number, now, next_attempt_at=at))
    database.write_now(
        sample_data.insert, schema.actions, sample_data.action(1, now, state="queued", next_try_at=now + 2 * HOUR)
    )


async def test_what_waits_is_not_delayed_when_the_clock_is_set_back(database: Database, clock: ManualClock) -> None:
    watch = Watch(database, clock, "one", "two")
    await watch.pass_time(5)
    fill(database, clock())
    then = clock()
    with structlog.testing.capture_logs() as lines:
        await watch.pass_time(5, set_by=-3600)
    assert watch.due() == [then - HOUR, then - HOUR + timedelta(seconds=30), then + HOUR]
    action = database.read_now(lambda tx: tx.execute(sa.select(schema.actions.c.next_try_at)).scalar())
    assert action == then + HOUR
    assert [line["event"] for line in lines] == ["clock.set_back"]
    assert watch.woken == 1, "only one of the daemons moves the times"
    before = watch.due()
    await watch.pass_time(5)
    assert watch.due() == before


async def test_a_clock_that_is_set_forward_or_slewed_moves_nothing(database: Database, clock: ManualClock) -> None:
    watch = Watch(database, clock, "one")
    await watch.pass_time(5)
    fill(database, clock())
    before = watch.due()
    await watch.pass_time(5, set_by=3600)
    await watch.pass_time(5, set_by=-1.5)
    assert (watch.due(), watch.woken) == (before, 0)
