"""Claims: which deliveries a daemon takes and releases, and those of other daemons."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from daemon.delivery.loop import DeliveryLoop
from daemon.model import TargetState
from daemon.settings import Retry
from daemon.storage import claims, schema
from daemon.storage.database import Database
from tests.delivery.loop_setup import WANTED, attempts, delivering, fill, rows, states, target
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Postgres


class Gated(Database):
    """A database whose next claim is committed, and answered only when ``gate`` opens."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.claimed, self.gate = asyncio.Event(), asyncio.Event()

    async def write(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        answer = await super().write(function, *args, **kwargs)
        if function.__name__ == "_claim":
            self.claimed.set()
            await self.gate.wait()
        return answer


@pytest.fixture
def live(database_url: str) -> Iterator[Gated]:
    """Yield a database on the real clock."""
    opened = Gated(database_url)
    yield opened
    opened.close()


async def claimed_by(database: Database, owners: list[str | None]) -> None:
    """Wait until the deliveries are claimed as expected."""
    await eventually(lambda: [row.claimed_by for row in rows(database)], owners)


async def test_deliveries_claimed_during_a_shutdown_are_released(live: Gated) -> None:
    fill(live, ["P1", "P2"], ["ops"])
    deliveries = DeliveryLoop(live, {"ops": target("ops", "http://127.0.0.1:9/")}, "one")
    running = asyncio.create_task(deliveries.run())
    await live.claimed.wait()
    assert {row.claimed_by for row in rows(live)} == {"one"}
    stopping = asyncio.create_task(deliveries.stop(timedelta(seconds=5)))
    await asyncio.sleep(0)
    live.gate.set()
    await asyncio.gather(stopping, running)
    assert [(row.state, row.claimed_by, row.attempts) for row in rows(live)] == [("pending", None, 0)] * 2


@pytest.mark.parametrize("status", [200, 500])
async def test_deliveries_behind_a_running_one_are_claimed_too_and_still_wait(live: Gated, status: int) -> None:
    live.gate.set()
    gate = asyncio.Event()
    receiver = Receiver(lambda _request: Reply(status, held=gate.wait) if len(receiver.got) == 0 else OK)
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await eventually(lambda: receiver.got)
        fill(live, ["P1", "P1"], ["ops"], first=1)
        deliveries.wake(["ops"])
        await claimed_by(live, ["one", "one", "one"])
        assert len(receiver.got) == 1
        gate.set()
        await eventually(lambda: states(live), {"delivered": 3})
    expected = ["msg_evt_0", "msg_evt_1", "msg_evt_2"]
    assert [request.id for request in receiver.got] == (expected if status == 200 else ["msg_evt_0", *expected])


async def test_a_full_lane_claims_again_when_the_next_delivery_is_due(
    live: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.delivery.loop.LOOK_SECONDS", 3600.0)
    live.gate.set()
    receiver = Receiver()
    fill(live, [f"P{number}" for number in range(201)], ["ops"])

    def put_off(tx: sa.Connection) -> None:
        last = schema.deliveries.c.message_id == "msg_evt_200"
        tx.execute(schema.deliveries.update().where(last).values(next_attempt_at=live.now(tx) + timedelta(seconds=1)))

    live.write_now(put_off)
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"delivered": 201})


async def test_a_target_locked_by_another_daemon_is_checked_again_soon(postgres: Postgres) -> None:
    database = Database(postgres.new())
    fill(database, ["P1"], ["ops"])
    held, released = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(tx: sa.Connection) -> None:
        tx.execute(sa.select(schema.targets).with_for_update())
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result(20)

    def claim(tx: sa.Connection) -> tuple[claims.TargetClaim, Any]:
        now = database.now(tx)
        return claims.claim(tx, WANTED, "two", now)["ops"], now

    holding = asyncio.create_task(database.write(hold))
    await held.wait()
    try:
        got, now = await database.write(claim)
    finally:
        released.set()
        await holding
        database.close()
    assert got.runs == ()
    assert got.next_due is not None
    assert got.next_due - now < timedelta(seconds=1)


async def test_a_paused_target_is_not_checked_again_soon(live: Gated) -> None:
    fill(live, ["P1"], ["ops"])

    now = live.read_now(live.now)

    def pause_and_claim(tx: sa.Connection) -> claims.TargetClaim:
        tx.execute(schema.targets.update().values(paused_at=now))
        return claims.claim(tx, WANTED, "one", now)["ops"]

    assert live.write_now(pause_and_claim) == claims.TargetClaim(state=TargetState(paused_at=now))


@pytest.mark.parametrize("reply", [Reply(429, {"retry-after": "60"}), Reply(410)], ids=["asked", "gone"])
async def test_a_claim_read_before_a_response_does_not_undo_its_effect(live: Gated, reply: Reply) -> None:
    live.gate.set()
    receiver = Receiver(lambda request: Reply(reply.status, reply.headers, delay=0.3))
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, retry=Retry())) as deliveries:
        await eventually(lambda: receiver.got)
        live.gate.clear()
        live.claimed.clear()
        fill(live, ["P2", "P3"], ["ops"], first=1)
        deliveries.wake(["ops"])
        await live.claimed.wait()
        await eventually(lambda: attempts(live) and deliveries._workers["ops"].circuit.is_settled)
        live.gate.set()
        await claimed_by(live, [None, None, None])
    assert len(receiver.got) == 1
