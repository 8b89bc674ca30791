"""Replayed deliveries beside live ones."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.storage.replays import REDELIVERED
from daemon.storage.schema import deliveries as table
from tests.delivery.loop_setup import (
    QUICK,
    changed,
    claim,
    delivering,
    fill,
    ids,
    replayed,
    rows,
    states,
    target,
)
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock


async def test_live_messages_precede_replayed_ones_and_neither_waits_for_the_other(live: Database) -> None:
    receiver = Receiver(lambda _request: Reply(delay=0.01))
    fill(live, ["P1"] * 60, ["ops"])
    async with receiver.serving() as url:
        async with delivering(live, target("ops", url)):
            await eventually(lambda: states(live), {"delivered": 60})
        replayed(live, *(row.id for row in rows(live)))
        async with delivering(live, target("ops", url)) as deliveries:
            await eventually(lambda: len(receiver.got) >= 65)
            fill(live, ["P1", "P1"], ["ops"], first=60)
            deliveries.wake(["ops"])
            await eventually(lambda: {"msg_evt_60", "msg_evt_61"} <= {request.id for request in receiver.accepted})
            assert len(receiver.got) < 110  # the other replayed ones are not sent yet
            await eventually(lambda: states(live), {"delivered": 62})
    numbers = [int(request.id.removeprefix("msg_evt_")) for request in receiver.accepted]
    assert [number for number in numbers[60:] if number < 60] == list(range(60))
    assert [number for number in numbers if number >= 60] == [60, 61]


async def test_replayed_messages_take_at_most_half_of_the_slots(live: Database) -> None:
    held = asyncio.Event()
    receiver = Receiver(lambda request: Reply(how="hang") if held.is_set() and request.id < "msg_evt_9" else OK)
    fill(live, [f"P{number}" for number in range(9)], ["ops"])
    async with receiver.serving() as url:
        async with delivering(live, target("ops", url)):
            await eventually(lambda: states(live), {"delivered": 9})
        replayed(live, *(row.id for row in rows(live)))
        held.set()
        chosen = target("ops", url, timeout=timedelta(seconds=60), retry=QUICK, concurrency=4)
        running = delivering(live, chosen)
        deliveries = await running.__aenter__()
        await eventually(lambda: len(receiver.got) == 11)
        fill(live, ["Q1", "Q2"], ["ops"], first=90)
        deliveries.wake(["ops"])
        await eventually(lambda: len(receiver.accepted) == 11)
        assert len(receiver.got) == 13
        await deliveries.stop(timedelta(0))
    assert {row.claimed_by for row in rows(live)} == {None}


async def test_a_replay_yields_the_only_slot_to_live_messages(live: Database) -> None:
    receiver = Receiver(lambda _request: Reply(delay=0.005))
    fill(live, ["P1"] * 100, ["ops"])
    async with receiver.serving() as url:
        async with delivering(live, target("ops", url)):
            await eventually(lambda: states(live), {"delivered": 100})
        replayed(live, *(row.id for row in rows(live)))
        async with delivering(live, target("ops", url, concurrency=1)) as deliveries:
            await eventually(lambda: len(receiver.got) >= 102)
            fill(live, ["P1", "P2"], ["ops"], first=100)
            deliveries.wake(["ops"])
            await eventually(lambda: {"msg_evt_100", "msg_evt_101"} <= {it.id for it in receiver.accepted})
            assert len(receiver.got) < 125
            await eventually(lambda: states(live), {"delivered": 102})
    numbers = [int(request.id.removeprefix("msg_evt_")) for request in receiver.accepted[100:]]
    assert [number for number in numbers if number < 100] == list(range(100))


@pytest.mark.parametrize("replay", [REDELIVERED, 1])
def test_deliveries_wait_only_for_earlier_ones_of_their_class(
    database: Database, clock: ManualClock, replay: int
) -> None:
    fill(database, ["P1"] * 3, ["ops"])
    later = clock.now + timedelta(minutes=5)
    again = table.update().where(table.c.id < 3).values(replay=replay, attempts=1)
    database.write_now(changed, again, table.update().where(table.c.id == 1).values(next_attempt_at=later))
    assert ids(claim(database)) == [3]
    assert [row.next_attempt_at for row in rows(database)] == [later, later, clock.now]
