"""Replays: what they take up, part by part, what they leave alone, and what comes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon.model import Delivery, DeliveryState, Order, ReplayState
from daemon.storage import claims, due, replays, results, schema, targets
from daemon.views import replay_list
from tests.delivery.loop_setup import fill, rows

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.storage.database import Database
    from daemon.views.replay_list import ReplayItem
    from tests.conftest import ManualClock

LONG = timedelta(days=1)
TARGETS = ("ops", "chat")


def journal(
    database: Database, count: int = 6, targets: tuple[str, ...] = ("ops",), dead: tuple[int, ...] = ()
) -> None:
    """Deliveries that have ended: delivered, but the ones of these places, which are dead."""
    fill(database, [f"P{number}" for number in range(count)], targets)
    finish(database, dead=dead)


def finish(database: Database, dead: tuple[int, ...] = (), of: str | None = None) -> list[str]:
    """Claim and send what is due; the ones of these places among them die. Answers the messages in their order."""

    def send(tx: sa.Connection) -> list[str]:
        now = database.now(tx)
        requests = {name: due.ClaimRequest(Order.PER_INCIDENT, 5000, 5000) for name in TARGETS if of in {None, name}}
        claimed = claims.claim(tx, requests, "one", now)
        got = sorted(
            (each for claim in claimed.values() for run in claim.runs for each in run.deliveries),
            key=lambda each: each.id,
        )
        if got:
            results.record(tx, [_result(each, now, dies=place in dead) for place, each in enumerate(got)], "one")
        return [each.message_id for each in got]

    return database.write_now(send)


def _result(each: Delivery, now: datetime, *, dies: bool = False) -> results.Result:
    if dies:
        return results.Result(each, DeliveryState.DEAD, now, 5, 500, "answered 500", "oops")
    return results.Result(each, DeliveryState.DELIVERED, now, 5, 204, None, None)


def test_an_event_is_counted_once_alone_or_in_a_batch(database: Database, clock: ManualClock) -> None:
    journal(database, count=3, targets=TARGETS)
    everything = replays.ReplayFilter(clock.now - LONG, clock.now + LONG)

    def batch(tx: sa.Connection) -> None:
        message = {"id": "msg_0", "event_seq": 0, "trigger": "t", "created_at": clock.now}
        tx.execute(schema.messages.insert(), message)
        tx.execute(schema.batched.insert(), [{"message_id": "msg_0", "event_seq": number} for number in (2, 3, 99)])
        delivery = {"message_id": "msg_0", "incident_id": "P0", "attempts": 1, "next_attempt_at": clock.now}
        ended = {"target": "ops", "state": "dead", "created_at": clock.now, "finished_at": clock.now}
        tx.execute(schema.deliveries.insert(), delivery | ended)
        tx.execute(schema.deliveries.insert(), delivery | ended | {"target": "chat", "state": "pending"})

    assert database.read_now(replays.count, everything, TARGETS) == replays.Matches(3, 6, 0)
    database.write_now(batch)
    assert database.read_now(replays.count, everything, TARGETS) == replays.Matches(4, 7, 1)
    only_dead = replays.ReplayFilter(clock.now - LONG, clock.now + LONG, target="ops", state=DeliveryState.DEAD)
    assert database.read_now(replays.count, only_dead, TARGETS) == replays.Matches(3, 1, 0)


def create(database: Database, clock: ManualClock, **more: Any) -> int:
    """Return a replay of what was made in the last day, a second later."""
    now = clock.advance(1)
    requests = replays.ReplayFilter(more.pop("since", now - LONG), more.pop("until", now), **more)
    return database.write_now(replays.create, requests, TARGETS, now)


def feed(database: Database, clock: ManualClock) -> replays.Progress:
    """Return one go, a second later."""
    return database.write_now(replays.advance, clock.advance(1))


def look(database: Database, replay: int) -> ReplayItem:
    found = database.read_now(replay_list.find, replay)
    assert found is not None
    return found


def states(database: Database) -> list[tuple[str, int | None]]:
    return [(row.state, row.replay) for row in rows(database)]


def test_a_replay_sends_the_same_messages_again_and_counts_the_results(database: Database, clock: ManualClock) -> None:
    journal(database, dead=(1, 2))
    replay = create(database, clock)
    assert (look(database, replay).total, look(database, replay).state) == (6, ReplayState.RUNNING)
    fed = feed(database, clock)
    assert fed == replays.Progress(frozenset({"ops"}), has_more=True)
    assert states(database) == [("pending", replay)] * 6
    assert {(row.attempts, row.finished_at, row.renewed_at) for row in rows(database)} == {(0, None, clock.now)}
    clock.advance(1)
    assert finish(database, dead=(5,)) == [f"msg_evt_{number}" for number in range(6)]
    assert feed(database, clock) == replays.Progress(frozenset(), has_more=False)
    found = look(database, replay)
    assert (found.state, found.taken, found.delivered, found.dead) == (ReplayState.FINISHED, 6, 5, 1)
    assert (found.pending, found.skipped, found.finished_at) == (0, 0, clock.now)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"state": DeliveryState.DEAD}, {2, 3}),
        ({"state": DeliveryState.DELIVERED}, {1, 4, 5, 6, 7, 8}),
        ({"target": "ops"}, {1, 3, 5, 7}),
        ({"trigger": "paged"}, {1, 2, 3, 4, 5, 6, 7, 8}),
        ({"trigger": "other"}, set()),
        ({"target": "chat", "state": DeliveryState.DEAD}, {2}),
    ],
)
def test_a_replay_selects_exactly_the_deliveries_that_match_its_filters(
    database: Database, clock: ManualClock, filters: dict[str, Any], expected: set[int]
) -> None:
    journal(database, 4, TARGETS, dead=(1, 2))
    replay = create(database, clock, **filters)
    assert look(database, replay).total == len(expected)
    feed(database, clock)
    assert {row.id for row in rows(database) if row.state == "pending"} == expected


def test_a_replay_selects_deliveries_created_in_its_period(database: Database, clock: ManualClock) -> None:
    start = clock.now
    for number in range(4):
        fill(database, [f"P{number}"], ["ops"], first=number)
        clock.advance(60)
    finish(database)
    replay = create(database, clock, since=start + timedelta(seconds=60), until=start + timedelta(seconds=120))
    feed(database, clock)
    assert states(database) == [("delivered", None), ("pending", replay), ("pending", replay), ("delivered", None)]


def test_a_replay_without_deliveries_is_finished_at_once(database: Database, clock: ManualClock) -> None:
    found = look(database, create(database, clock))
    assert (found.state, found.total, found.skipped) == (ReplayState.FINISHED, 0, 0)


def test_each_target_has_one_bounded_batch_at_a_time_and_the_next_when_half_is_sent(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_WAITING", 4)
    journal(database, 10, TARGETS)
    replay = create(database, clock)
    assert feed(database, clock).targets == set(TARGETS)
    waiting = [(row.target, row.state) for row in rows(database)]
    assert [waiting.count((name, "pending")) for name in TARGETS] == [4, 4]
    assert feed(database, clock).targets == set(), "nothing was sent"
    sent = []
    for _ in range(3):
        sent += finish(database, of="ops")
        feed(database, clock)
    assert sorted(sent) == sorted(f"msg_evt_{number}" for number in range(10))
    assert look(database, replay).taken == 14, "one that sends nothing hinders nobody"
    while got := finish(database):
        sent += got
        feed(database, clock)
    assert len(sent) == 20
    assert look(database, replay).state is ReplayState.FINISHED


def test_a_batch_that_is_not_committed_is_released_once_the_next_time(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_WAITING", 2)
    journal(database, 7)
    replay = create(database, clock)
    sent: list[str] = []

    def crash(tx: sa.Connection) -> None:
        replays.advance(tx, clock.now)
        raise ZeroDivisionError

    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            database.write_now(crash)
        feed(database, clock)
        sent += finish(database)
    assert sent == [f"msg_evt_{number}" for number in range(7)]
    assert look(database, replay).delivered == 7


def test_after_the_clock_is_set_back_a_replay_still_selects_every_delivery_once(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_WAITING", 2)
    journal(database, 5)
    create(database, clock)
    sent: list[str] = []
    for _ in range(6):
        feed(database, clock)
        sent += finish(database)
        clock.advance(-3600)
        database.write_now(targets.hurry, "ops", clock())
    assert sent == [f"msg_evt_{number}" for number in range(5)]


def test_a_replay_leaves_pending_deliveries_alone_and_skips_those_sent_meanwhile(
    database: Database, clock: ManualClock
) -> None:
    journal(database, 3, dead=(2,))
    fill(database, ["P9"], ["ops"], first=9)
    replay = create(database, clock)
    assert look(database, replay).total == 3
    assert database.write_now(replays.redeliver, 3, clock.advance(1))
    clock.advance(1)
    assert sorted(finish(database)) == ["msg_evt_2", "msg_evt_9"]
    feed(database, clock)
    finish(database)
    feed(database, clock)
    found = look(database, replay)
    assert (found.state, found.taken, found.delivered, found.skipped) == (ReplayState.FINISHED, 2, 2, 1)


def test_a_delivery_whose_event_was_pruned_is_skipped_and_counted(database: Database, clock: ManualClock) -> None:
    journal(database, 3)
    replay = create(database, clock)
    gone = schema.events.delete().where(schema.events.c.id == "evt_1")
    database.write_now(lambda tx: tx.execute(gone) and None)
    feed(database, clock)
    finish(database)
    feed(database, clock)
    assert states(database)[1] == ("delivered", None)
    assert (look(database, replay).delivered, look(database, replay).skipped) == (2, 1)
    assert not database.write_now(replays.redeliver, 2, clock.now)


def test_two_overlapping_replays_both_keep_their_counts(database: Database, clock: ManualClock) -> None:
    journal(database, 4)
    first = create(database, clock)
    feed(database, clock)
    clock.advance(1)
    finish(database, dead=(0, 1))
    second = create(database, clock)  # while the first is still open
    assert look(database, second).total == 4
    feed(database, clock)
    clock.advance(1)
    finish(database)
    feed(database, clock)
    found = [look(database, each) for each in (first, second)]
    assert [(each.taken, each.delivered, each.dead) for each in found] == [(4, 2, 2), (4, 4, 0)]
    assert {each.state for each in found} == {ReplayState.FINISHED}


def test_cancelling_restores_the_state_of_every_unsent_delivery(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_WAITING", 4)
    journal(database, 6, dead=(1,))
    before = [tuple(row) for row in rows(database)]
    replay = create(database, clock)
    feed(database, clock)
    database.write_now(replays.cancel, replay, clock.advance(1))
    found = look(database, replay)
    assert (found.state, found.taken, found.pending, found.delivered) == (ReplayState.CANCELLED, 0, 0, 0)
    shown = ("state", "attempts", "finished_at", "last_status", "last_error", "replay")
    after = rows(database)
    assert [tuple(getattr(row, name) for name in shown) for row in after] == [
        tuple(dict(zip(after[0]._fields, row, strict=True))[name] for name in shown) for row in before
    ]
    assert feed(database, clock) == replays.Progress(frozenset(), has_more=False)
    database.write_now(replays.cancel, replay, clock.now)
    assert look(database, replay) == found


def test_a_delivery_in_progress_ends_before_its_replay_is_cancelled(database: Database, clock: ManualClock) -> None:
    journal(database, 3, dead=(1, 2))
    replay = create(database, clock)
    feed(database, clock)

    def claim(tx: sa.Connection) -> list[Delivery]:
        claimed = claims.claim(tx, {"ops": due.ClaimRequest(Order.PER_INCIDENT, 2, 2)}, "one", clock.now)
        return [each for run in claimed["ops"].runs for each in run.deliveries]

    one, two = database.write_now(claim)
    database.write_now(replays.cancel, replay, clock.advance(1))
    assert [row.state for row in rows(database)] == ["pending", "pending", "dead"]
    assert look(database, replay).finished_at is None
    later = clock.advance(1)
    again = results.Result(two, DeliveryState.PENDING, later, 5, 502, "answered 502", None, later + LONG)
    database.write_now(results.record, [_result(one, later), again], "one")
    assert not feed(database, clock).has_more
    delivered, failed, _ = rows(database)
    assert (delivered.state, failed.state) == ("delivered", "dead")
    assert (failed.attempts, failed.last_error) == (2, "answered 502")
    found = look(database, replay)
    assert (found.state, found.taken, found.delivered, found.dead) == (ReplayState.CANCELLED, 1, 1, 0)


def test_one_delivery_can_be_redelivered_repeatedly(database: Database, clock: ManualClock) -> None:
    journal(database, 2, dead=(0,))
    assert database.write_now(replays.redeliver, 1, clock.advance(60))
    assert database.write_now(replays.redeliver, 1, clock.advance(60)), "again, while it is pending"
    row = rows(database)[0]
    assert (row.state, row.replay, row.attempts, row.next_attempt_at) == ("pending", replays.REDELIVERED, 0, clock.now)
    assert row.renewed_at == clock.now - timedelta(seconds=60)
    assert finish(database) == ["msg_evt_0"]
    assert not database.write_now(replays.redeliver, 77, clock.now)


def test_old_replays_are_pruned(database: Database, clock: ManualClock) -> None:
    journal(database, 1)
    ended, has_more = create(database, clock, trigger="other"), create(database, clock)
    clock.advance(3600)
    assert database.write_now(replays.prune, timedelta(hours=2), clock.now, 10) == 0
    assert database.write_now(replays.prune, timedelta(minutes=1), clock.now, 10) == 1
    assert [database.read_now(replay_list.find, each) is None for each in (ended, has_more)] == [True, False]
