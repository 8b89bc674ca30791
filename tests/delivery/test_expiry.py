"""The backlog of a target that fails for a whole horizon."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from daemon.settings import Retry
from daemon.storage import claims, schema, targets
from tests.conftest import START
from tests.delivery.loop_setup import (
    Gate,
    changed,
    claim,
    delivering,
    failing_for_long,
    fill,
    ids,
    rows,
    states,
    target,
)
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.storage.database import Database
    from tests.conftest import ManualClock

HOUR = timedelta(hours=1)
PUT_OFF = schema.deliveries.update().where(schema.deliveries.c.id == 2).values(next_attempt_at=START + 8 * HOUR)


async def test_a_failed_probe_expires_every_delivery_past_its_horizon(live: Database) -> None:
    gate = Gate()
    brief = Retry(first=timedelta(milliseconds=50), factor=1.0, max=timedelta(milliseconds=50))
    fill(live, [f"P{number}" for number in range(300)], ["ops"])
    async with gate.receiver.serving() as url:
        hopeless = target("ops", url, retry=dataclasses.replace(brief, horizon=timedelta(milliseconds=500)))
        async with delivering(live, hopeless):
            await eventually(lambda: states(live), {"dead": 300})
    assert len(gate.receiver.got) < 100
    errors = {row.last_error for row in rows(live)}
    assert errors == {"answered 500", targets.EXPIRED}


def test_deliveries_that_were_never_tried_do_not_expire(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1", "P1", "P2", "P2", "P3"], ["ops"])
    assert ids(claim(database)) == [1, 2, 3, 4, 5]
    later = clock.advance(60)

    def give_up(tx: sa.Connection, since: datetime, tried: tuple[str, ...]) -> int:
        return targets.expire_backlog(tx, "ops", since, tried, later)

    assert database.write_now(give_up, later, ()) == 0, "what is on its way"
    database.write_now(claims.give_back, [1, 2, 3, 4, 5], "one")
    assert database.write_now(give_up, START - timedelta(seconds=1), ()) == 0, "what has time left"
    assert database.write_now(give_up, later, ("P2",)) == 2
    assert [row.state for row in rows(database)] == ["dead", "pending", "pending", "pending", "dead"]
    database.write_now(claims.give_back, [2], "one")
    database.write_now(changed, PUT_OFF)
    assert database.write_now(give_up, later, ("P2",)) == 0, "what was behind another and is not due"
    assert database.write_now(give_up, later, ()) == 1
    assert rows(database)[2].finished_at == later


async def test_a_refused_probe_expires_no_other_delivery(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(400) if request.id == "msg_evt_0" else OK)
    failing_for_long(live, 20)
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"delivered": 19, "dead": 1})


async def test_one_failure_after_days_of_downtime_expires_nothing(live: Database) -> None:
    replies = iter([Reply(503)] * 2)
    receiver = Receiver(lambda _request: next(replies, OK))
    failing_for_long(live, 20)
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"delivered": 18, "dead": 2})
