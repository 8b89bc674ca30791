"""Targets in trouble: failing ones are probed, those that are gone are paused, and everything comes back in order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon.settings import Retry
from daemon.storage import schema, targets
from tests.delivery.lines import QUICK, attempts, delivering, fill, rows, states, target
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply, Request

if TYPE_CHECKING:
    from daemon.storage.database import Database

SLOW = Retry(first=timedelta(milliseconds=100), factor=1.0, max=timedelta(milliseconds=100))


def standing(database: Database, name: str = "ops") -> Any:
    """A target's row."""
    wanted = sa.select(schema.targets).where(schema.targets.c.name == name)
    return database.read_now(lambda tx: tx.execute(wanted).one())


async def seen(database: Database, column: str, *, there: bool = True) -> None:
    """Wait until the target's row has, or has not, a value there."""
    await eventually(lambda: getattr(standing(database), column) is not None, there)


def pauses(database: Database) -> list[timedelta]:
    """How long after each attempt's end the next one began."""
    made = attempts(database)
    begun = [row.at - timedelta(milliseconds=row.duration_ms) for row in made]
    return [start - before.at for start, before in zip(begun[1:], made, strict=False)]


def probe_now(database: Database) -> None:
    """Let the failing target be probed without a pause."""
    due = schema.targets.update().where(schema.targets.c.failing_since.is_not(None))
    database.write_now(lambda tx: tx.execute(due.values(probe_at=database.now(tx))) and None)


class Gate:
    """A receiver that can be down, and knows how many requests it had at the same time meanwhile."""

    def __init__(self, status: int = 500) -> None:
        self.down = True
        self.status = status
        self.receiver = Receiver(self._behave)

    def _behave(self, _request: Request) -> Reply:
        return Reply(self.status, delay=0.02) if self.down else OK


async def test_a_failing_target_is_probed_with_one_delivery_at_a_time_and_gets_the_rest_in_order(
    live: Database,
) -> None:
    gate = Gate()
    incidents = [f"P{number % 40}" for number in range(200)]
    fill(live, incidents, ["ops"])
    async with gate.receiver.serving() as url, delivering(live, target("ops", url, retry=SLOW)) as deliveries:
        await seen(live, "failing_since")
        begun = len(gate.receiver.got)
        assert begun <= 16
        await eventually(lambda: len(gate.receiver.got) >= begun + 6)
        assert all(pause >= timedelta(milliseconds=40) for pause in pauses(live)[-3:])
        tried = {row.delivery_id for row in attempts(live)[-4:]}
        assert len(tried) > 1  # one that can never be taken does not hide that others can
        assert standing(live).probes >= 4
        gate.down = False
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 200})
    assert standing(live).failing_since is None
    assert (standing(live).probe_at, standing(live).probes) == (None, 0)
    told: dict[str, list[int]] = {}
    for request in gate.receiver.accepted:
        number = int(request.json["data"]["note"]["content"])
        told.setdefault(incidents[number], []).append(number)
    assert all(each == sorted(each) for each in told.values())
    assert len({request.id for request in gate.receiver.accepted}) == len(gate.receiver.accepted) == 200


async def test_a_target_that_refuses_some_messages_gets_the_others_soon(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(400) if int(request.id.removeprefix("msg_evt_")) < 20 else OK)
    fill(live, [f"P{number}" for number in range(20)], ["ops"])
    chosen = {"concurrency": 3, "retry": Retry(first=timedelta(milliseconds=500))}
    async with receiver.serving() as url, delivering(live, target("ops", url, **chosen)) as deliveries:
        await eventually(lambda: len(receiver.got) >= 20)
        fill(live, [f"Q{number}" for number in range(30)], ["ops"], first=20)
        deliveries.wake(["ops"])
        await eventually(lambda: len(receiver.accepted), 30)
        await eventually(lambda: states(live), {"delivered": 30, "pending": 20})
    assert standing(live).failing_since is None


async def test_what_waits_for_its_next_try_is_sent_as_soon_as_the_target_is_back(live: Database) -> None:
    gate = Gate()
    late = Retry(first=timedelta(seconds=30), factor=2, max=timedelta(hours=8))
    fill(live, ["P1", "P2", "P3"], ["ops"])
    async with gate.receiver.serving() as url, delivering(live, target("ops", url, retry=late)) as deliveries:
        await seen(live, "failing_since")
        await eventually(lambda: states(live), {"pending": 3})
        gate.down = False
        probe_now(live)
        fill(live, ["P4"], ["ops"], first=3)
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 4})
    assert [row.attempts for row in rows(live)] == [2, 2, 2, 1]


async def test_a_daemon_that_starts_knows_that_a_target_is_failing(live: Database) -> None:
    gate = Gate()
    fill(live, [f"P{number}" for number in range(50)], ["ops"])
    async with gate.receiver.serving() as url:
        async with delivering(live, target("ops", url, retry=SLOW), instance="one"):
            await seen(live, "failing_since")
        since, before = standing(live).failing_since, len(gate.receiver.got)
        async with delivering(live, target("ops", url, retry=SLOW), instance="two"):
            await eventually(lambda: len(gate.receiver.got) >= before + 3)
            assert all(pause >= timedelta(milliseconds=40) for pause in pauses(live)[-2:])
        assert standing(live).failing_since == since
    assert {row.claimed_by for row in rows(live)} == {None}


async def test_replicas_probe_a_failing_target_together_no_more_often_than_one(live: Database) -> None:
    gate = Gate()
    fill(live, [f"P{number}" for number in range(50)], ["ops"])
    slower = Retry(first=timedelta(milliseconds=400), factor=1.0, max=timedelta(milliseconds=400))
    async with (
        gate.receiver.serving() as url,
        delivering(live, target("ops", url, retry=slower), instance="one"),
        delivering(live, target("ops", url, retry=slower), instance="two"),
    ):
        await seen(live, "failing_since")
        await eventually(lambda: gate.receiver.got[-1].at - gate.receiver.got[0].at > 0.3)
        before = len(gate.receiver.got)
        await eventually(lambda: len(gate.receiver.got) >= before + 4)
        assert all(pause >= timedelta(milliseconds=190) for pause in pauses(live)[-3:])
        gate.down = False
        probe_now(live)
        await eventually(lambda: states(live), {"delivered": 50})


async def test_a_target_that_is_gone_is_paused_and_loses_nothing(live: Database) -> None:
    gate = Gate(410)
    fill(live, [f"P{number}" for number in range(30)], ["ops"])
    async with gate.receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await seen(live, "paused_at")
        assert standing(live).paused_reason == "answered 410"
        told = len(gate.receiver.got)
        assert told <= 8
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"pending": 30})
        gate.down = False
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        assert len(gate.receiver.got) == told
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 30})
    assert standing(live).paused_at is None


async def test_a_target_that_is_paused_by_hand_gets_no_more_of_what_was_claimed_for_it(live: Database) -> None:
    receiver = Receiver(lambda _request: Reply(delay=0.05))
    fill(live, [f"P{number}" for number in range(120)], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=2)) as deliveries:
        await eventually(lambda: len(receiver.accepted) >= 2)
        live.write_now(lambda tx: targets.pause(tx, "ops", "paused by hand", live.now(tx)))
        await eventually(lambda: not any(row.claimed_by for row in rows(live)))
        got = len(receiver.got)
        assert got < 40
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 120})


async def test_a_target_that_asks_for_a_pause_gets_nothing_at_all_meanwhile(live: Database) -> None:
    replies = iter([Reply(429, {"retry-after": "1"})])
    receiver = Receiver(lambda _request: next(replies, OK))
    fill(live, [f"P{number}" for number in range(20)], ["ops"])
    async with (
        receiver.serving() as url,
        delivering(live, target("ops", url, concurrency=1, retry=Retry())) as deliveries,
    ):
        await eventually(lambda: receiver.got)
        fill(live, ["P99"], ["ops"], first=20)
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 21})
    first, second = receiver.got[:2]
    assert second.at - first.at >= 0.95
    assert standing(live).failing_since is None


def replayed(database: Database, *ids: int) -> None:
    """Take up deliveries once more, as a replay does."""
    values = {"state": "pending", "replay": 1, "attempts": 0, "finished_at": None}

    def take_up(tx: sa.Connection) -> None:
        chosen = schema.deliveries.c.id.in_(ids)
        tx.execute(schema.deliveries.update().where(chosen).values(values | {"renewed_at": database.now(tx)}))

    database.write_now(take_up)


async def test_live_messages_go_before_replayed_ones_and_neither_waits_for_the_other(live: Database) -> None:
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
            assert len(receiver.got) < 110  # the other replayed ones are still to come
            await eventually(lambda: states(live), {"delivered": 62})
    numbers = [int(request.id.removeprefix("msg_evt_")) for request in receiver.accepted]
    assert [number for number in numbers[60:] if number < 60] == list(range(60))
    assert [number for number in numbers if number >= 60] == [60, 61]


async def test_replayed_messages_take_half_of_the_places_at_most(live: Database) -> None:
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
        await eventually(lambda: len(receiver.got) >= 11)
        fill(live, ["Q1", "Q2"], ["ops"], first=90)
        deliveries.wake(["ops"])
        await eventually(lambda: len(receiver.accepted), 11)
        assert len(receiver.got) == 13
        await deliveries.stop(timedelta(0))
    assert {row.claimed_by for row in rows(live)} == {None}
