"""Targets that are paused, by a person or by their own 410, and resumed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.model import PAUSED_BY_HAND, TargetChange, TargetState
from daemon.settings import RateLimit
from daemon.storage import targets
from tests.conftest import START
from tests.delivery.loop_setup import (
    Gate,
    delivering,
    failing,
    failing_for_long,
    fill,
    rows,
    seen,
    standing,
    states,
    target,
)
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock


async def test_a_target_that_responds_410_is_paused_and_loses_nothing(live: Database) -> None:
    gate = Gate(410)
    fill(live, [f"P{number}" for number in range(30)], ["ops"])
    async with gate.receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await seen(live, "paused_at")
        assert standing(live).paused_reason == "answered 410"
        count = len(gate.receiver.got)
        assert count <= 8
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"pending": 30})
        gate.down = False
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        assert len(gate.receiver.got) == count
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 30})
    assert standing(live).paused_at is None


async def test_a_target_paused_by_hand_receives_none_of_its_claimed_deliveries(live: Database) -> None:
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


async def test_a_delivery_waiting_for_the_rate_limit_is_not_sent_after_a_pause(live: Database) -> None:
    receiver = Receiver()
    fill(live, [f"P{number}" for number in range(12)], ["ops"])
    rate = RateLimit(1, timedelta(milliseconds=200))
    async with receiver.serving() as url, delivering(live, target("ops", url, rate_limit=rate)):
        await eventually(lambda: len(receiver.got) == 2)
        live.write_now(lambda tx: targets.pause(tx, "ops", "paused by hand", live.now(tx)))
        await eventually(lambda: not any(row.claimed_by for row in rows(live)))
    assert len(receiver.got) <= 5


def test_a_paused_target_that_was_failing_goes_on_failing_when_it_is_resumed(
    database: Database, clock: ManualClock
) -> None:
    fill(database, ["P1"], ["ops"])
    failing(database, clock())
    database.write_now(targets.pause, "ops", PAUSED_BY_HAND, clock())
    database.write_now(targets.resume, "ops", clock())
    found = standing(database)
    assert (found.last_error, found.failing_since, found.probe_at) == ("answered 500", START, None)
    assert found.paused_at is found.paused_reason is None


def test_resuming_a_target_that_was_paused_by_an_answer_clears_that(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    gone = TargetChange(circuit=TargetState(last_error="answered 410"), gone_at=clock(), gone_reason="answered 410")
    database.write_now(targets.record_states, {"ops": gone}, clock())
    assert standing(database).paused_at is not None
    database.write_now(targets.resume, "ops", clock())
    assert (standing(database).last_error, standing(database).paused_reason) == (None, None)


async def test_a_probe_that_fails_after_a_resume_is_ignored(live: Database) -> None:
    replies = iter([Reply(503), Reply(503), Reply(503, delay=0.5)])
    receiver = Receiver(lambda _request: next(replies, OK))
    failing_for_long(live, 20)
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: len(receiver.got) == 3)
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        await eventually(lambda: states(live), {"delivered": 17, "dead": 3})
        assert standing(live).failing_since is None
