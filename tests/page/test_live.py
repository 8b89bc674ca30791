"""What many open pages cost: fragments made once, and fewer signals."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import HTMLResponse, Response

from daemon.page import live
from daemon.page.fragments import Fragments


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
    now = 1.1
    response = await fragments.response("key", maker.make)
    assert response.body == b"fragment 3"


@pytest.mark.parametrize(("pages", "seconds"), [(1, 1.5), (7, 1.5), (10, 2.0), (100, 20.0)])
def test_the_more_pages_are_open_the_longer_is_the_time_between_two_signals(pages: int, seconds: float) -> None:
    assert live.pause(pages) == pytest.approx(seconds)
