"""What many open pages cost: fragments made once, and fewer signals."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from starlette.responses import HTMLResponse, Response

from daemon.control.changes import Changes
from daemon.page import live
from daemon.page.fragments import Fragments
from daemon.storage import sessions as stored_sessions
from daemon.views import change_mark
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    import sqlalchemy as sa

    from daemon.storage.database import Database
    from tests.conftest import ManualClock


class Maker:
    """Makes fragments, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    async def make(self) -> Response:
        self.count += 1
        await asyncio.sleep(0)
        return HTMLResponse(f"fragment {self.count}", 207)


async def test_a_fragment_that_many_pages_ask_for_at_once_is_made_once() -> None:
    maker, fragments = Maker(), Fragments(lambda: 0.0)
    responses = await asyncio.gather(*(fragments.response("key", maker.make) for _ in range(100)))
    assert {(response.body, response.status_code) for response in responses} == {(b"fragment 1", 207)}
    assert len({id(response) for response in responses}) == 100, "each can get a cookie of its own"


async def test_another_page_or_a_later_one_gets_its_own_fragment() -> None:
    now = 0.0
    maker, fragments = Maker(), Fragments(lambda: now)
    await fragments.response("key", maker.make)
    await fragments.response("other", maker.make)
    now = 2.1
    response = await fragments.response("key", maker.make)
    assert response.body == b"fragment 3"


@pytest.mark.parametrize(("pages", "seconds"), [(1, 1.5), (6, 1.5), (20, 5.0), (100, 25.0)])
def test_the_more_pages_are_open_the_longer_is_the_time_between_two_signals(pages: int, seconds: float) -> None:
    assert live.pause(pages) == pytest.approx(seconds)


async def test_whose_session_has_ended_is_known_without_asking_the_database_for_each_page(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    looking = live.Live(database, Changes())
    assert not looking.is_alive("a"), "nobody looks, so only the database knows"
    async with contextlib.aclosing(looking.signals()) as signals:
        await anext(signals)
        await eventually(lambda: looking.is_alive("a"))
        looking.end("b")
        assert not looking.is_alive("b")
        database.write_now(stored_sessions.end, "c", clock.now)  # by another replica
        await eventually(lambda: not looking.is_alive("c"))
        assert looking.is_alive("a")
    assert not looking.is_alive("a")


async def test_every_change_after_a_page_has_connected_is_signalled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)
    marks, read = [0], list[int]()

    def mark(_tx: sa.Connection) -> int:
        read.append(marks[-1])
        return marks[-1]

    monkeypatch.setattr(change_mark, "read", mark)
    async with asyncio.timeout(30), contextlib.aclosing(live.Live(database, Changes()).signals()) as signals:
        await anext(signals)
        assert read == [0], "so that what changes from now on differs from it"
        marks.append(1)
        assert (await anext(signals)).startswith("event: changed\n")
