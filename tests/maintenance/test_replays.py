"""Replays as a daemon carries them out: fed, sent, and safe from whatever else happens to the same deliveries."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from daemon import maintenance
from daemon.model import PAUSED_BY_HAND, ReplayState
from daemon.storage import claims, messages, replays, schema, targets
from daemon.storage.database import Database
from daemon.views import replay_list
from tests.delivery.loop_setup import delivering, fill, rows, states, target
from tests.harness.eventually import eventually
from tests.harness.receivers import Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    import pytest

    from daemon.delivery.loop import DeliveryLoop
    from daemon.views.replay_list import ReplayItem
    from tests.conftest import Postgres

HOUR = timedelta(hours=1)


def end(tx: sa.Connection, at: datetime | None = None) -> None:
    """Let everything be delivered, at that time or at once."""
    ended: Any = at or schema.deliveries.c.created_at
    tx.execute(schema.deliveries.update().values(state="delivered", attempts=1, finished_at=ended))


def create(database: Database, *names: str) -> int:
    """Create a replay of everything for these targets; return its id."""

    def write(tx: sa.Connection) -> int:
        now = database.now(tx)
        return replays.create(tx, replays.ReplayFilter(now - HOUR, now), names, now)

    return database.write_now(write)


async def ended(database: Database, replay: int) -> ReplayItem:
    """Wait until the replay has ended; return it."""

    def item() -> ReplayItem:
        item = database.read_now(replay_list.find, replay)
        assert item is not None
        return item

    await eventually(lambda: item().finished_at is not None)
    return item()


@contextlib.asynccontextmanager
async def feeding(database: Database, deliveries: DeliveryLoop) -> AsyncIterator[maintenance.Replaying]:
    """Run the chore inside the context."""
    chore = maintenance.Replaying(database, deliveries.wake, deliveries.release_replays)
    running = asyncio.create_task(chore.run())
    try:
        yield chore
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_replay_is_sent_in_batches_and_a_paused_target_delays_no_other(
    live: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "MOST_WAITING", 10)
    fill(live, [f"P{number % 7}" for number in range(40)], ["ops", "chat"])
    live.write_now(end)
    live.write_now(lambda tx: targets.pause(tx, "chat", PAUSED_BY_HAND, live.now(tx)))
    receiver = Receiver()
    async with receiver.serving() as url:
        receivers = target("ops", f"{url}/ops"), target("chat", f"{url}/chat")
        async with delivering(live, *receivers) as deliveries, feeding(live, deliveries) as chore:
            replay = create(live, "ops", "chat")
            chore.wake()
            await eventually(lambda: len(receiver.accepted), 40)
            assert sorted(each.id for each in receiver.accepted) == sorted(f"msg_evt_{number}" for number in range(40))
            assert {each.path for each in receiver.accepted} == {"/hook/ops"}
            waiting = [row for row in rows(live) if row.target == "chat" and row.state == "pending"]
            assert len(waiting) == 10, "its part waits"
            live.write_now(lambda tx: targets.resume(tx, "chat", live.now(tx)))
            deliveries.wake(["chat"])
            finished = await ended(live, replay)
    assert (finished.state, finished.delivered, finished.dead, finished.skipped) == (ReplayState.FINISHED, 80, 0, 0)
    assert len(receiver.accepted) == 80


async def test_a_cancelled_replay_is_finished_even_after_its_creator_is_gone(live: Database) -> None:
    fill(live, ["P1", "P2"], ["ops"])
    live.write_now(end)
    replay = create(live, "ops")
    live.write_now(lambda tx: replays.advance(tx, live.now(tx)))
    hold = schema.deliveries.update().values(claimed_by="dead")
    live.write_now(lambda tx: tx.execute(hold) and None)
    live.write_now(lambda tx: replays.cancel(tx, replay, live.now(tx)))
    live.write_now(claims.release, ["dead"])
    async with delivering(live) as deliveries, feeding(live, deliveries):
        finished = await ended(live, replay)
    assert (finished.state, finished.taken) == (ReplayState.CANCELLED, 0)
    await eventually(lambda: states(live), {"delivered": 2})


async def test_claimed_deliveries_of_a_cancelled_replay_are_not_sent(live: Database) -> None:
    fill(live, [f"P{number % 3}" for number in range(60)], ["ops"])
    live.write_now(end)
    receiver = Receiver(lambda _request: Reply(delay=0.05))
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        replay = create(live, "ops")
        async with feeding(live, deliveries):
            await eventually(lambda: len(receiver.got) >= 6)
            live.write_now(lambda tx: replays.cancel(tx, replay, live.now(tx)))
            finished = await ended(live, replay)
    assert finished.state is ReplayState.CANCELLED
    assert len(receiver.got) < 40
    assert finished.delivered == len(receiver.accepted)
    assert {row.state for row in rows(live)} == {"delivered"}


async def test_events_that_a_replay_selects_are_not_pruned_meanwhile(postgres: Postgres) -> None:
    database = Database(postgres.new())
    fill(database, ["P1", "P2"], ["ops"])
    old = database.read_now(database.now) - 2 * HOUR
    database.write_now(end, old)
    create(database, "ops")
    selected, released = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def take(tx: sa.Connection) -> None:
        replays.advance(tx, database.now(tx))
        loop.call_soon_threadsafe(selected.set)
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result(20)

    def prune(tx: sa.Connection) -> int:
        return messages.prune(tx, delivered=HOUR, dead=HOUR, now=database.now(tx), limit=10)

    taking = asyncio.create_task(database.write(take))
    await selected.wait()
    pruning = asyncio.create_task(database.write(prune))
    waits = sa.text("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    await eventually(lambda: database.read(lambda tx: tx.execute(waits).first()))
    released.set()
    await taking
    try:
        assert await pruning == 0
        assert [row.state for row in rows(database)] == ["pending", "pending"]
        assert len(database.read_now(lambda tx: tx.execute(sa.select(schema.messages)).all())) == 2
    finally:
        database.close()
