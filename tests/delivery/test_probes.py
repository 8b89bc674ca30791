"""Probes of failing targets: one at a time, whichever daemon sends it, until the target recovers."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from daemon.model import DeliveryState, TargetChange, TargetState
from daemon.settings import RateLimit, Retry
from daemon.storage import claims, due, probes, replays, results, schema, targets
from daemon.storage.database import Database
from tests.conftest import START
from tests.delivery.loop_setup import (
    Gate,
    attempts,
    changed,
    claim,
    delivering,
    failed,
    failing,
    fill,
    ids,
    probe_now,
    rows,
    seen,
    standing,
    states,
    target,
)
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply

if TYPE_CHECKING:
    import pytest

    from tests.conftest import ManualClock, Postgres

SLOW = Retry(first=timedelta(milliseconds=100), factor=1.0, max=timedelta(milliseconds=100))
HOUR = timedelta(hours=1)


def pauses(database: Database) -> list[timedelta]:
    """Return the pauses between the end of each attempt and the start of the next."""
    made = attempts(database)
    begun = [row.at - timedelta(milliseconds=row.duration_ms) for row in made]
    return [start - before.at for start, before in zip(begun[1:], made, strict=False)]


async def test_a_failing_target_is_probed_with_one_delivery_and_receives_the_rest_in_order(
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


async def test_a_target_that_rejects_some_messages_receives_the_others_soon(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(400) if int(request.id.removeprefix("msg_evt_")) < 20 else OK)
    fill(live, [f"P{number}" for number in range(20)], ["ops"])
    chosen = {"concurrency": 3, "retry": Retry(first=timedelta(milliseconds=500))}
    async with receiver.serving() as url, delivering(live, target("ops", url, **chosen)) as deliveries:
        await eventually(lambda: len(receiver.got) >= 20)
        fill(live, [f"Q{number}" for number in range(30)], ["ops"], first=20)
        deliveries.wake(["ops"])
        await eventually(lambda: len(receiver.accepted) == 30)
        await eventually(lambda: states(live), {"delivered": 30, "pending": 20})
    assert standing(live).failing_since is None


async def test_deliveries_waiting_for_a_retry_are_sent_as_soon_as_the_target_recovers(live: Database) -> None:
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


async def test_a_resumed_target_that_fails_is_tried_at_once_and_goes_on_failing_until_a_success(live: Database) -> None:
    gate = Gate()
    late = Retry(first=timedelta(hours=1), factor=1.0, max=timedelta(hours=8))
    fill(live, [f"P{number}" for number in range(5)], ["ops"])
    async with gate.receiver.serving() as url, delivering(live, target("ops", url, retry=late)) as deliveries:
        await seen(live, "failing_since")
        await eventually(lambda: standing(live).probe_at is not None)
        before, begun = standing(live), len(gate.receiver.got)
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        assert (standing(live).failing_since, standing(live).last_error) == (before.failing_since, before.last_error)
        deliveries.wake(["ops"])
        await eventually(lambda: len(gate.receiver.got) > begun)
        await eventually(lambda: standing(live).probes >= 1)
        assert standing(live).failing_since == before.failing_since, "since when it fails, nobody has forgotten"
        gate.down = False
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        deliveries.wake(["ops"])
        await eventually(lambda: states(live), {"delivered": 5})
    assert standing(live).failing_since is None


async def test_a_starting_daemon_knows_which_targets_are_failing(live: Database) -> None:
    gate = Gate()
    fill(live, [f"P{number}" for number in range(50)], ["ops"])
    async with gate.receiver.serving() as url:
        async with delivering(live, target("ops", url, retry=SLOW), instance="one"):
            await seen(live, "failing_since")
        since, before = standing(live).failing_since, len(attempts(live))
        async with delivering(live, target("ops", url, retry=SLOW), instance="two"):
            await eventually(lambda: len(attempts(live)) >= before + 3)
            assert all(pause >= timedelta(milliseconds=40) for pause in pauses(live)[-2:])
        assert standing(live).failing_since == since
    assert {row.claimed_by for row in rows(live)} == {None}


async def test_replicas_together_probe_a_failing_target_no_more_often_than_one(live: Database) -> None:
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


async def test_messages_that_a_target_never_accepts_do_not_delay_the_others(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(500) if int(request.id.removeprefix("msg_evt_")) < 12 else OK)
    fill(live, [f"P{number}" for number in range(12)], ["ops"])
    often = Retry(first=timedelta(milliseconds=50), factor=1.0, max=timedelta(milliseconds=50))
    async with receiver.serving() as url, delivering(live, target("ops", url, retry=often)) as deliveries:
        await seen(live, "failing_since")
        fill(live, [f"Q{number}" for number in range(100)], ["ops"], first=12)
        deliveries.wake(["ops"])
        await eventually(lambda: len(receiver.accepted) == 100)
        assert len(receiver.got) < 200


def test_a_probe_prefers_a_delivery_that_was_never_attempted(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1", "P2"], ["ops"])
    failed(database, claim(database), clock())
    failing(database, clock())
    assert ids(claim(database)) == [2]
    clock.advance(76)
    assert ids(claim(database)) == [1]


def test_deliveries_never_attempted_go_before_those_that_failed(database: Database, clock: ManualClock) -> None:
    fill(database, [f"P{number}" for number in range(30)], ["ops"])
    for _ in range(3):
        tried = [each for run in claim(database).runs for each in run.deliveries]
        outcomes = [results.Result(each, DeliveryState.PENDING, START, 5, 500, "no", None, clock()) for each in tried]
        database.write_now(results.record, outcomes, "one")
        put_off = schema.deliveries.update().where(schema.deliveries.c.attempts > 0)
        database.write_now(changed, put_off.values(next_attempt_at=clock() + HOUR))
    fill(database, ["Q1", "Q2"], ["ops"], first=30)
    new = [row.id for row in rows(database) if row.attempts == 0]
    database.write_now(targets.hurry, "ops", clock.advance(60))
    first = claim(database)
    assert ids(first)[:3] == [*new, 1]
    database.write_now(claims.give_back, ids(first), "one")
    due = schema.deliveries.update().values(next_attempt_at=START)
    late = due.where(schema.deliveries.c.attempts == 0).values(next_attempt_at=clock())
    database.write_now(changed, due, late)
    failing(database, clock.advance(1))
    assert ids(claim(database)) == [new[0]]


def test_a_delivery_behind_one_in_flight_is_not_claimed_repeatedly(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    claim(database)
    fill(database, ["P1"], ["ops"], first=1)
    failing(database, clock())
    behind = claim(database)
    assert (behind.runs, behind.next_due) == ((), clock() + due.BEHIND_RUNNING)


def test_redelivering_does_not_wait_for_a_target_that_is_being_claimed(postgres: Postgres) -> None:
    """The claim may wait for the delivery, and the two would wait for each other."""
    database = Database(postgres.new())
    fill(database, ["P1"], ["ops"])
    failing(database, database.read_now(database.now) + HOUR)

    def redeliver(tx: sa.Connection) -> bool:
        tx.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
        return replays.redeliver(tx, 1, database.now(tx))

    def claiming(tx: sa.Connection) -> bool:
        tx.execute(sa.select(schema.targets).with_for_update())
        return database.write_now(redeliver)

    assert database.write_now(claiming)
    assert standing(database).probe_at is not None
    assert database.write_now(redeliver)
    assert standing(database).probe_at is None
    database.close()


def test_redelivering_by_hand_also_sends_the_deliveries_behind_it(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1", "P2", "P1", "P1"], ["ops"])
    later = clock() + HOUR
    failed(database, claim(database), later)
    assert ids(claim(database)) == []
    assert database.write_now(replays.redeliver, 1, clock())
    assert ids(claim(database)) == [1, 3, 4]


def test_a_change_without_an_error_keeps_the_recorded_one(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    failing(database, clock())
    change = TargetChange(circuit=TargetState(failing_since=START, probe_at=clock()), known_failing_since=START)
    assert database.write_now(targets.record_states, {"ops": change}, clock()) == frozenset()
    assert standing(database).last_error == "answered 500"


def test_a_failing_target_with_nothing_due_is_probed_every_five_minutes(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1", "P1", "P2"], ["ops"])
    failed(database, claim(database), clock() + 8 * HOUR)
    database.write_now(changed, schema.deliveries.update().values(next_attempt_at=START + 8 * HOUR))
    failing(database, clock() + timedelta(minutes=1))
    idle = claim(database)
    assert (ids(idle), idle.next_due) == ([], START + timedelta(minutes=5))
    clock.advance(299)
    assert ids(claim(database)) == []
    clock.advance(1)
    probed = claim(database)
    assert (ids(probed), probed.next_due) == ([1], clock() + timedelta(minutes=4))
    refusal = results.Result(
        probed.runs[0].deliveries[0], DeliveryState.PENDING, START, 5, 400, "no", None, clock() + HOUR
    )
    database.write_now(results.record, [refusal], "one")
    database.write_now(changed, schema.deliveries.update().where(schema.deliveries.c.id > 1).values(state="delivered"))
    clock.advance(330)
    refused = claim(database)
    assert (ids(refused), refused.next_due) == ([], clock() + timedelta(minutes=4))


async def test_a_failing_target_is_probed_though_its_rate_is_slower_than_the_lease(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (claims, probes):
        monkeypatch.setattr(module, "PROBE_LEASE", timedelta(milliseconds=80))
    gate = Gate()
    fill(live, [f"P{number}" for number in range(4)], ["ops"])
    chosen = {"concurrency": 1, "retry": Retry(first=timedelta(milliseconds=50), factor=1.0)}
    rate = RateLimit(1, timedelta(milliseconds=200))
    async with gate.receiver.serving() as url, delivering(live, target("ops", url, rate_limit=rate, **chosen)):
        await seen(live, "failing_since")
        begun = len(gate.receiver.got)
        await eventually(lambda: len(gate.receiver.got) >= begun + 3)
        gate.down = False
        await eventually(lambda: states(live), {"delivered": 4})


def test_the_first_daemon_to_record_a_failure_wins(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    failing(database, clock.advance(1))
    circuit = TargetState(failing_since=clock.advance(1), last_error="no", probe_at=clock())
    late = TargetChange(circuit=circuit)
    assert database.write_now(targets.record_states, {"ops": late}, clock()) == {"ops"}
    assert standing(database).failing_since == START
    again = TargetChange(circuit=dataclasses.replace(circuit, failing_since=START), known_failing_since=START)
    assert database.write_now(targets.record_states, {"ops": again}, clock()) == frozenset()


async def test_a_target_that_rejects_everything_after_a_success_is_reported_until_it_takes_something(
    live: Database,
) -> None:
    reply = [OK]
    receiver = Receiver(lambda _request: reply[0])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        fill(live, ["P0"], ["ops"])
        deliveries.wake(["ops"])
        await seen(live, "last_success_at")
        reply[0] = Reply(400)
        fill(live, ["P1", "P2", "P3"], ["ops"], first=1)
        deliveries.wake(["ops"])
        await seen(live, "refusing_since")
        row = standing(live)
        assert (row.failing_since, row.last_error) == (None, "answered 400")
        reply[0] = OK
        await seen(live, "refusing_since", there=False)
        await eventually(lambda: states(live), {"delivered": 4})
        assert standing(live).last_error is None
