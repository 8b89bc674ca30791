"""Deliveries that were sent and are not recorded yet: what follows them waits for no record."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from daemon.delivery.recorder import Records
from daemon.storage import messages
from daemon.storage.database import Database
from tests.delivery.loop_setup import attempts, delivering, fill, rows, seen, states, target
from tests.harness.eventually import eventually
from tests.harness.receivers import OK, Receiver, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator


class Held(Database):
    """A database that records results, and reads claimed messages, only while the ``gates`` are open."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.recording, self.reading = asyncio.Event(), asyncio.Event()
        self.recording.set()
        self.reading.set()
        self.writing: list[str] = []

    async def write(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], Records):
            await self.recording.wait()
        self.writing.append(function.__name__)
        answer = await super().write(function, *args, **kwargs)
        self.writing.remove(function.__name__)
        return answer

    async def read(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        if function is messages.load:
            await self.reading.wait()
        return await super().read(function, *args, **kwargs)


@pytest.fixture
def live(database_url: str) -> Iterator[Held]:
    """Yield a database on the real clock."""
    opened = Held(database_url)
    yield opened
    opened.close()


async def test_what_follows_a_delivery_is_sent_before_that_is_recorded(
    live: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.delivery.circuit.SUCCESS_SECONDS", 3600.0)
    receiver = Receiver()
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await seen(live, "last_success_at")
        live.recording.clear()
        for number in (1, 2, 3):
            fill(live, ["P1"], ["ops"], first=number)
            deliveries.wake(["ops"])
            await eventually(lambda: len(receiver.got), number + 1)
        assert len(attempts(live)) == 1
        live.recording.set()
        await eventually(lambda: states(live), {"delivered": 4})
        await eventually(lambda: deliveries._finished, set())
    assert [request.id for request in receiver.got] == [f"msg_evt_{number}" for number in range(4)]


async def test_what_follows_is_sent_at_once_when_that_is_recorded_after_the_claim(live: Held) -> None:
    """The claim has not seen the record, and is taken over after it."""
    receiver = Receiver(lambda _request: Reply(200, held=released.wait) if len(receiver.got) == 0 else OK)
    released = asyncio.Event()
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await eventually(lambda: receiver.got)
        live.reading.clear()
        fill(live, ["P1"], ["ops"], first=1)
        deliveries.wake(["ops"])
        await eventually(lambda: rows(live)[1].claimed_by, "one")
        released.set()
        await eventually(lambda: len(attempts(live)), 1)
        live.reading.set()
        await eventually(lambda: states(live), {"delivered": 2})
        await eventually(lambda: deliveries._finished, set())
    assert [row.created_at == row.next_attempt_at for row in rows(live)] == [True, True], "neither was put off"


async def test_what_follows_a_failed_delivery_waits_for_its_retry(live: Held) -> None:
    receiver = Receiver(lambda _request: Reply(500) if len(receiver.got) == 0 else OK)
    live.recording.clear()
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await eventually(lambda: len(receiver.got), 1)
        fill(live, ["P1", "P1"], ["ops"], first=1)
        deliveries.wake(["ops"])
        live.recording.set()
        await eventually(lambda: states(live), {"delivered": 3})
    assert [request.id for request in receiver.got] == ["msg_evt_0", "msg_evt_0", "msg_evt_1", "msg_evt_2"]


async def test_a_claim_waits_while_the_daemon_changes_targets_but_not_for_long(live: Held) -> None:
    """PostgreSQL's claims pass over targets that are being changed; the others must not wait for one of them."""
    receiver = Receiver()
    live.recording.clear()
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        await eventually(lambda: not deliveries._unlocked.is_set())
        fill(live, ["P2"], ["ops"], first=1)
        deliveries.wake(["ops"])
        await eventually(deliveries._claiming.locked)
        assert "_claim" not in live.writing
        assert len(receiver.got) == 1
        await eventually(lambda: len(receiver.got), 2)
        live.recording.set()
        await eventually(lambda: states(live), {"delivered": 2})


async def test_what_follows_a_delivery_that_is_sent_again_waits_for_it(live: Held) -> None:
    """Its result was never seen to be recorded: another daemon took it over, or the database's answer was lost."""
    released = asyncio.Event()
    receiver = Receiver(lambda _request: Reply(200, held=released.wait) if len(receiver.got) == 0 else OK)
    fill(live, ["P1"], ["ops"])
    async with receiver.serving() as url, delivering(live, target("ops", url)) as deliveries:
        deliveries._finished.add(rows(live)[0].id)
        await eventually(lambda: receiver.got)
        fill(live, ["P1"], ["ops"], first=1)
        deliveries.wake(["ops"])
        await eventually(lambda: rows(live)[1].claimed_by, "one")
        await eventually(lambda: not deliveries._claiming.locked())
        assert len(receiver.got) == 1
        released.set()
        await eventually(lambda: states(live), {"delivered": 2})
