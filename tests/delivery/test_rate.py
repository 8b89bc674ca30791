"""A target's rate: never more starts than allowed, live deliveries before replayed ones."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from daemon.delivery.rate import Rate
from daemon.settings import RateLimit

PERIOD = 0.1


async def test_live_deliveries_go_first_and_no_window_has_more_than_the_limit() -> None:
    rate, stopping = Rate(RateLimit(3, timedelta(seconds=PERIOD))), asyncio.Event()
    started: list[tuple[float, bool]] = []
    begun = time.monotonic()

    async def one(*, live: bool) -> None:
        await rate.turn(live=live, stopping=stopping)
        started.append((time.monotonic(), live))

    replayed = [asyncio.create_task(one(live=False)) for _ in range(6)]
    await asyncio.sleep(0)  # they ask first
    await asyncio.gather(*replayed, *(one(live=True) for _ in range(6)))
    assert [live for _, live in started] == [False] * 3 + [True] * 6 + [False] * 3
    assert all(at - begun >= (number // 3) * PERIOD for number, (at, _) in enumerate(started))


async def test_nothing_waits_during_a_shutdown_or_without_a_limit() -> None:
    rate, stopping = Rate(RateLimit(1, timedelta(hours=1))), asyncio.Event()
    await rate.turn(live=True, stopping=stopping)
    waiting = [asyncio.create_task(rate.turn(live=live, stopping=stopping)) for live in (True, False)]
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    stopping.set()
    await asyncio.gather(*waiting)
    await asyncio.gather(*(Rate(None).turn(live=True, stopping=asyncio.Event()) for _ in range(100)))
