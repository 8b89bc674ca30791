"""Pauses that a target requests with Retry-After."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from daemon.model import TargetChange, TargetState
from daemon.settings import Retry
from daemon.storage import targets
from tests.delivery.loop_setup import (
    attempts,
    claim,
    delivering,
    failed,
    fill,
    ids,
    rows,
    seen,
    standing,
    states,
    target,
)
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply, Request

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

HOUR = timedelta(hours=1)


async def test_a_blocked_target_receives_nothing(live: Database) -> None:
    replies = iter([Reply(429, {"retry-after": "1"})])
    receiver = Receiver(lambda _request: next(replies, OK))
    fill(live, [f"P{number}" for number in range(20)], ["ops"])
    async with (
        receiver.serving() as url,
        delivering(live, target("ops", url, concurrency=1, retry=Retry())) as deliveries,
    ):
        await eventually(lambda: len(receiver.got) == 1)
        fill(live, ["P99"], ["ops"], first=20)
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 21})
    first, second = receiver.got[:2]
    assert second.at - first.at >= 0.95
    assert standing(live).failing_since is None


async def test_resuming_lifts_a_requested_pause(live: Database) -> None:
    replies = iter([Reply(503, {"retry-after": "3600"})])
    receiver = Receiver(lambda _request: next(replies, OK))
    fill(live, ["P1", "P2"], ["ops"])
    patient: dict[str, Any] = {"concurrency": 1, "retry": Retry()}
    async with receiver.serving() as url, delivering(live, target("ops", url, **patient)) as deliveries:
        await seen(live, "blocked_until")
        assert standing(live).failing_since is None
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 2})


def test_a_requested_pause_applies_to_every_daemon_and_makes_nothing_due(
    database: Database, clock: ManualClock
) -> None:
    fill(database, ["P1", "P2"], ["ops"])
    failed(database, claim(database), clock() + HOUR)
    blocked_until = clock() + timedelta(seconds=60)
    database.write_now(targets.record_states, {"ops": TargetChange(blocked_until=blocked_until)}, clock())
    other = claim(database, "two")
    assert (ids(other), other.state) == ([], TargetState(blocked_until=blocked_until))
    clock.advance(60)
    assert ids(claim(database, "two")) == []
    clock.advance(3600)
    assert ids(claim(database, "two")) == [2, 1], "what has failed before comes last"


async def test_responses_without_retry_after_do_not_end_a_requested_pause(live: Database) -> None:
    def behave(request: Request) -> Reply:
        asks = request.id == "msg_evt_0"
        return Reply(429, {"retry-after": "60"}, delay=0.1) if asks else Reply(503, delay=0.3)

    receiver = Receiver(behave)
    fill(live, [f"P{number}" for number in range(8)], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=4, retry=Retry())):
        await seen(live, "failing_since")
    (asked,) = (row.next_attempt_at for row in rows(live) if row.message_id == "msg_evt_0")
    assert standing(live).blocked_until == asked


async def test_a_target_is_blocked_exactly_as_long_as_it_requested(live: Database) -> None:
    replies = iter([Reply(503, {"retry-after": "1"})])
    receiver = Receiver(lambda _request: next(replies, OK))
    fill(live, ["P1", "P2"], ["ops"])
    slow = Retry(first=HOUR, factor=1.0)
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=1, retry=slow)):
        await eventually(lambda: states(live), {"pending": 1, "delivered": 1})
        times = [row.at for row in attempts(live)]
    assert times[1] - times[0] >= timedelta(seconds=0.95)
    assert rows(live)[0].next_attempt_at > times[0] + HOUR / 2, "its own pause is longer"


async def test_a_pause_requested_from_another_daemon_releases_claimed_deliveries(live: Database) -> None:
    receiver = Receiver(lambda _request: Reply(delay=0.1))
    fill(live, [f"P{number}" for number in range(120)], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=1)) as deliveries:
        await eventually(lambda: len(receiver.got) == 2)
        asked = live.read_now(live.now) + HOUR
        live.write_now(targets.record_states, {"ops": TargetChange(blocked_until=asked)}, asked)
        deliveries.wake(["ops"])
        await eventually(lambda: not any(row.claimed_by for row in rows(live)))
        assert len(receiver.got) < 100
