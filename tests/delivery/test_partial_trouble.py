"""Targets that are in trouble with some messages, or for some time, and people who step in meanwhile."""

from __future__ import annotations

import dataclasses
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from daemon.delivery.lane import Lane
from daemon.formats import REGISTRY
from daemon.model import DeliveryState, Order
from daemon.outbound import connection
from daemon.outbound.sender import Answer
from daemon.settings import Options, RateLimit, Retry
from daemon.storage import claims, due, probes, replays, results, schema, targets
from tests.conftest import START
from tests.delivery.lines import attempts, delivering, fill, rows, states, target
from tests.delivery.test_trouble import Gate, replayed, seen, standing
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply, Request

if TYPE_CHECKING:
    from datetime import datetime

    import pytest
    import sqlalchemy as sa

    from daemon.model import Content, Message
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

HOUR = timedelta(hours=1)
PUT_OFF = schema.deliveries.update().where(schema.deliveries.c.id == 2).values(next_attempt_at=START + 8 * HOUR)
WANTED = {"ops": due.Wanted(Order.PER_INCIDENT, 10, 10)}


def claim(database: Database, instance: str = "one") -> claims.Claim:
    """What a daemon gets to send to ops now."""
    return database.write_now(lambda tx: claims.claim(tx, WANTED, instance, database.now(tx)))["ops"]


def ids(claimed: claims.Claim) -> list[int]:
    """The deliveries of a claim, in their order."""
    return [each.id for chain in claimed.chains for each in chain.deliveries]


def changed(tx: sa.Connection, *statements: sa.Update) -> None:
    """Change rows by hand."""
    for each in statements:
        tx.execute(each)


def failed(database: Database, claimed: claims.Claim, until_then: datetime) -> None:
    """Let the first of what was claimed fail, and give the rest back."""
    first, *rest = (each for chain in claimed.chains for each in chain.deliveries)
    result = results.Result(first, DeliveryState.PENDING, START, 5, 500, "answered 500", None, until_then)
    database.write_now(results.record, [result], "one")
    database.write_now(claims.give_back, [each.id for each in rest], "one", until_then)


def failing(database: Database, probe_at: datetime) -> None:
    """Note that ops is failing."""
    note = targets.Note("ops", None, changed=True, failing_since=START, error="answered 500", probe_at=probe_at)
    database.write_now(targets.note_targets, [note], probe_at)


async def seen_attempt(database: Database) -> None:
    """Wait until an attempt is recorded."""
    await eventually(lambda: attempts(database))


async def test_messages_that_a_target_never_takes_do_not_keep_it_from_the_others(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(500) if int(request.id.removeprefix("msg_evt_")) < 12 else OK)
    fill(live, [f"P{number}" for number in range(12)], ["ops"])
    often = Retry(first=timedelta(milliseconds=50), factor=1.0, max=timedelta(milliseconds=50))
    async with receiver.serving() as url, delivering(live, target("ops", url, retry=often)) as deliveries:
        await seen(live, "failing_since")
        fill(live, [f"Q{number}" for number in range(100)], ["ops"], first=12)
        deliveries.wake(["ops"])
        await eventually(lambda: len(receiver.accepted), 100)
        assert len(receiver.got) < 200


def test_a_probe_is_one_that_was_never_tried_if_there_is_one(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1", "P2"], ["ops"])
    failed(database, claim(database), clock())
    failing(database, clock())
    assert ids(claim(database)) == [2]
    clock.advance(76)
    assert ids(claim(database)) == [1]


def test_what_was_never_tried_goes_first_however_much_has_failed_before(database: Database, clock: ManualClock) -> None:
    fill(database, [f"P{number}" for number in range(30)], ["ops"])
    for _ in range(3):
        tried = [each for chain in claim(database).chains for each in chain.deliveries]
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


def test_what_is_only_behind_what_is_on_its_way_is_not_asked_for_again_and_again(
    database: Database, clock: ManualClock
) -> None:
    fill(database, ["P1"], ["ops"])
    claim(database)
    fill(database, ["P1"], ["ops"], first=1)
    failing(database, clock())
    behind = claim(database)
    assert (behind.chains, behind.next_due) == ((), clock() + due.BEHIND_RUNNING)


def test_what_is_sent_at_once_by_hand_takes_with_it_what_waits_behind_it(
    database: Database, clock: ManualClock
) -> None:
    fill(database, ["P1", "P2", "P1", "P1"], ["ops"])
    later = clock() + HOUR
    failed(database, claim(database), later)
    assert ids(claim(database)) == []
    assert database.write_now(replays.redeliver, 1, clock())
    assert ids(claim(database)) == [1, 3, 4]


async def test_a_replay_gives_the_only_place_up_when_there_is_something_new(live: Database) -> None:
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


async def test_what_waits_for_the_rate_is_not_sent_to_a_target_that_was_paused_meanwhile(live: Database) -> None:
    receiver = Receiver()
    fill(live, [f"P{number}" for number in range(12)], ["ops"])
    rate = RateLimit(1, timedelta(milliseconds=200))
    async with receiver.serving() as url, delivering(live, target("ops", url, rate_limit=rate)):
        await eventually(lambda: len(receiver.got) >= 2)
        live.write_now(lambda tx: targets.pause(tx, "ops", "paused by hand", live.now(tx)))
        await eventually(lambda: not any(row.claimed_by for row in rows(live)))
    assert len(receiver.got) <= 5


async def test_resuming_forgets_that_the_target_asked_for_a_pause(live: Database) -> None:
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


def test_a_pause_that_was_asked_for_holds_for_every_daemon_and_makes_nothing_due(
    database: Database, clock: ManualClock
) -> None:
    fill(database, ["P1", "P2"], ["ops"])
    failed(database, claim(database), clock() + HOUR)
    note = targets.Note("ops", None, changed=True, blocked_until=clock.advance(60))
    clock.advance(-60)
    database.write_now(targets.note_targets, [note], clock())
    other = claim(database, "two")
    assert (ids(other), other.standing) == ([], targets.Standing(waits=True, until=note.blocked_until))
    clock.advance(60)
    assert ids(claim(database, "two")) == []
    clock.advance(3600)
    assert ids(claim(database, "two")) == [2, 1], "what has failed before comes last"


def test_a_target_that_goes_while_a_note_is_written_is_paused_by_the_next(clock: ManualClock) -> None:
    sender: Any = None
    lane = Lane(target("ops", "http://127.0.0.1:9/"), sender)
    lane.note_success(clock())
    written = lane.note()
    lane.note_gone(Answer(410, "answered 410", None, None, 0.1), clock())
    lane.written_down(written, 1.0)
    assert lane.note().paused_at == clock()


def test_who_knows_no_error_leaves_the_one_that_is_written(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    failing(database, clock())
    note = targets.Note("ops", None, changed=True, failing_since=START, probe_at=clock())
    database.write_now(targets.note_targets, [note], clock())
    assert standing(database).last_error == "answered 500"


async def test_a_template_whose_error_is_no_text_fails_like_any_other(live: Database) -> None:
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])
    options = Options(template='{{ "{!\\ud800}".format(1) }} {{ "{!\\x00}".format(1) }}')
    async with receiver.serving() as url, delivering(live, target("ops", url, format="template", options=options)):
        await seen_attempt(live)
    assert "\ufffd" in attempts(live)[0].error


async def test_a_probe_that_fails_speaks_for_all_whose_time_is_over_as_well(live: Database) -> None:
    gate = Gate()
    brief = Retry(first=timedelta(milliseconds=50), factor=1.0, max=timedelta(milliseconds=50))
    fill(live, [f"P{number}" for number in range(300)], ["ops"])
    async with gate.receiver.serving() as url:
        hopeless = target("ops", url, retry=dataclasses.replace(brief, horizon=timedelta(milliseconds=500)))
        async with delivering(live, hopeless):
            await eventually(lambda: states(live), {"dead": 300})
    assert len(gate.receiver.got) < 100
    errors = {row.last_error for row in rows(live)}
    assert errors == {"answered 500", targets.HOPELESS}


def test_the_first_probe_after_a_long_downtime_gives_nothing_up(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    [delivery] = claim(database).chains[0].deliveries
    sender: Any = None
    lane = Lane(target("ops", "http://127.0.0.1:9/", retry=Retry()), sender)
    lane.failing_since = START - timedelta(hours=100)
    answer = Answer(None, "could not connect", None, None, 0.1)
    given_up: list[datetime | None] = []
    for _ in range(11):
        lane.probe = delivery.id
        lane.note_failure(delivery, answer, clock(), 0.5)
        given_up.append(lane.note().hopeless)
        clock.advance(60)
    assert given_up == [None] * 10 + [START + timedelta(minutes=10) - timedelta(hours=76)]
    lane.probe, lane.hopeless = delivery.id, None
    lane.note_failure(delivery, Answer(400, "answered 400", None, None, 0.1), clock(), 0.5)
    assert lane.note().hopeless is None, "what is refused says nothing of others"


def test_what_was_never_tried_for_its_turn_had_not_come_is_not_given_up(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1", "P1", "P2", "P2", "P3"], ["ops"])
    assert ids(claim(database)) == [1, 2, 3, 4, 5]
    later = clock.advance(60)

    def give_up(tx: sa.Connection, since: datetime, tried: tuple[str, ...]) -> int:
        return targets.expire(tx, "ops", since, tried, later)

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


async def test_a_format_that_breaks_costs_one_message_an_attempt_and_no_other_anything(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = REGISTRY["standard"]

    def broken(message: Message, options: Options) -> Content | None:
        if message.id == "msg_evt_0":
            raise RecursionError
        return whole.content(message, options)

    monkeypatch.setitem(REGISTRY, "standard", dataclasses.replace(whole, content=broken))
    receiver = Receiver()
    fill(live, ["P1", "P2", "P3"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"pending": 1, "delivered": 2})
    assert attempts(live)[0].error == "the format standard failed with RecursionError (please report it)"


async def test_a_request_that_breaks_is_a_failed_attempt(live: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])

    async def broken(_route: connection.PinnedClient, *_request: object) -> connection.Response:
        raise RuntimeError("canary")

    async with receiver.serving() as url:
        with monkeypatch.context() as patched:
            patched.setattr(connection.PinnedClient, "post", broken)
            async with delivering(live, target("ops", url)):
                await seen_attempt(live)
        assert attempts(live)[0].error == "the request failed with RuntimeError (please report it)"


async def test_what_no_database_takes_is_recorded_without_it(database: Database) -> None:
    fill(database, ["P1"], ["ops"])
    [delivery] = claim(database).chains[0].deliveries
    result = results.Result(delivery, DeliveryState.PENDING, START, 5, 500, "a\x00b\ud800", "c\x00", START)
    database.write_now(results.record, [result], "one")
    assert (rows(database)[0].last_error, attempts(database)[0].answer) == ("a\ufffdb?", "c\ufffd")


async def test_who_waits_for_the_rate_does_not_keep_a_daemon_from_ending(live: Database) -> None:
    receiver = Receiver()
    fill(live, ["P1", "P2", "P3"], ["ops"])
    rate = RateLimit(1, HOUR)
    async with receiver.serving() as url, delivering(live, target("ops", url, rate_limit=rate)) as deliveries:
        await eventually(lambda: states(live), {"delivered": 1, "pending": 2})
        begun = time.monotonic()
        await deliveries.stop(HOUR)
        assert time.monotonic() - begun < 60
    assert {row.claimed_by for row in rows(live)} == {None}
    assert len(receiver.got) == 1


def test_a_failing_target_with_nothing_due_is_probed_every_few_minutes_all_the_same(
    database: Database, clock: ManualClock
) -> None:
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
        probed.chains[0].deliveries[0], DeliveryState.PENDING, START, 5, 400, "no", None, clock() + HOUR
    )
    database.write_now(results.record, [refusal], "one")
    database.write_now(changed, schema.deliveries.update().where(schema.deliveries.c.id > 1).values(state="delivered"))
    clock.advance(330)
    refused = claim(database)
    assert (ids(refused), refused.next_due) == ([], clock() + timedelta(minutes=4))


def failing_for_long(database: Database, count: int) -> None:
    """Let ops have been failing for longer than the horizon of so many messages for it."""
    fill(database, [f"P{number}" for number in range(count)], ["ops"])
    old = database.read_now(database.now) - 2 * HOUR
    late = schema.deliveries.update().values(created_at=old, next_attempt_at=old)
    database.write_now(changed, late, schema.targets.update().values(failing_since=old, probe_at=old, probes=50))


async def test_a_probe_that_is_refused_for_its_own_sake_gives_up_no_other(live: Database) -> None:
    receiver = Receiver(lambda request: Reply(400) if request.id == "msg_evt_0" else OK)
    failing_for_long(live, 20)
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"delivered": 19, "dead": 1})


async def test_a_daemon_that_was_not_there_for_days_gives_up_nothing_for_one_failure(live: Database) -> None:
    replies = iter([Reply(503)] * 2)
    receiver = Receiver(lambda _request: next(replies, OK))
    failing_for_long(live, 20)
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: states(live), {"delivered": 18, "dead": 2})


async def test_a_pause_that_one_answer_asks_for_is_not_ended_by_others_that_ask_for_none(live: Database) -> None:
    def behave(request: Request) -> Reply:
        asks = request.id == "msg_evt_0"
        return Reply(429, {"retry-after": "60"}, delay=0.1) if asks else Reply(503, delay=0.3)

    receiver = Receiver(behave)
    fill(live, [f"P{number}" for number in range(8)], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=4, retry=Retry())):
        await seen(live, "failing_since")
    (asked,) = (row.next_attempt_at for row in rows(live) if row.message_id == "msg_evt_0")
    assert standing(live).blocked_until == asked


def test_a_pause_that_is_asked_for_outlasts_a_probe_that_was_not_sent() -> None:
    sender: Any = None
    lane = Lane(target("ops", "http://127.0.0.1:9/"), sender, failing_since=START, probe=7)
    lane.note_asked(START + HOUR, 3600.0)
    lane.note_asked(START + HOUR / 2, 1800.0)
    lane.forget_probe({7}, START)
    assert (lane.asked_until, lane.hold) == (START + HOUR, 3600.0)


async def test_a_failing_target_is_probed_though_its_rate_is_slower_than_leases_end(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (claims, probes):
        monkeypatch.setattr(module, "PROBE_LEASE", timedelta(milliseconds=200))
    gate = Gate()
    fill(live, [f"P{number}" for number in range(10)], ["ops"])
    chosen = {"concurrency": 1, "retry": Retry(first=timedelta(milliseconds=50), factor=1.0)}
    rate = RateLimit(1, timedelta(milliseconds=700))
    async with gate.receiver.serving() as url, delivering(live, target("ops", url, rate_limit=rate, **chosen)):
        await seen(live, "failing_since")
        begun = len(gate.receiver.got)
        await eventually(lambda: len(gate.receiver.got) >= begun + 3)
        gate.down = False
        await eventually(lambda: states(live), {"delivered": 10})


async def test_a_target_is_left_alone_as_long_as_it_asks_for_and_no_longer(live: Database) -> None:
    replies = iter([Reply(503, {"retry-after": "1"})])
    receiver = Receiver(lambda _request: next(replies, OK))
    fill(live, ["P1", "P2"], ["ops"])
    slow = Retry(first=HOUR, factor=1.0)
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=1, retry=slow)):
        await eventually(lambda: states(live), {"pending": 1, "delivered": 1})
        times = [row.at for row in attempts(live)]
    assert times[1] - times[0] >= timedelta(seconds=0.95)
    assert rows(live)[0].next_attempt_at > times[0] + HOUR / 2, "its own pause is longer"


def test_a_target_that_is_resumed_has_no_error_any_more(database: Database, clock: ManualClock) -> None:
    fill(database, ["P1"], ["ops"])
    failing(database, clock())
    database.write_now(targets.resume, "ops", clock())
    assert (standing(database).last_error, standing(database).failing_since) == (None, None)


async def test_a_probe_that_fails_after_somebody_has_resumed_the_target_says_nothing(live: Database) -> None:
    replies = iter([Reply(503), Reply(503), Reply(503, delay=0.5)])
    receiver = Receiver(lambda _request: next(replies, OK))
    failing_for_long(live, 20)
    async with receiver.serving() as url, delivering(live, target("ops", url)):
        await eventually(lambda: len(receiver.got) >= 3)
        live.write_now(lambda tx: targets.resume(tx, "ops", live.now(tx)))
        await eventually(lambda: states(live), {"delivered": 17, "dead": 3})
        assert standing(live).failing_since is None


def test_who_notes_later_that_a_target_fails_leaves_what_was_noted_first(
    database: Database, clock: ManualClock
) -> None:
    fill(database, ["P1"], ["ops"])
    failing(database, clock.advance(1))
    late = targets.Note("ops", None, changed=True, failing_since=clock.advance(1), error="no", probe_at=clock())
    assert database.write_now(targets.note_targets, [late], clock()) == {"ops"}
    assert standing(database).failing_since == START
    again = dataclasses.replace(late, failing_since=START, known=START)
    assert database.write_now(targets.note_targets, [again], clock()) == frozenset()


async def test_a_pause_that_another_daemon_was_asked_for_holds_what_is_claimed_already(live: Database) -> None:
    receiver = Receiver(lambda _request: Reply(delay=0.1))
    fill(live, [f"P{number}" for number in range(120)], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url, concurrency=1)) as deliveries:
        await eventually(lambda: len(receiver.got) >= 2)
        asked = live.read_now(live.now) + HOUR
        note = targets.Note("ops", None, changed=True, blocked_until=asked)
        live.write_now(targets.note_targets, [note], asked)
        deliveries.wake(["ops"])
        await eventually(lambda: not any(row.claimed_by for row in rows(live)))
        assert len(receiver.got) < 100
