"""Polling: the cost of a poll without news, with one trigger and with 500."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from bench import figures
from daemon.ingest.poller import Poller
from daemon.settings import Target, Trigger
from daemon.storage import connections
from daemon.storage.database import Database
from tests.conftest import ManualClock
from tests.harness.fake_pagerduty import FakePagerDuty, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

TRIGGERS = 500
PAUSE = 30


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll without news: processor seconds of the whole process, and calls to PagerDuty."""

    seconds: float
    calls: int


class Daemon:
    """A poller with ``count`` triggers on an account without any activity."""

    def __init__(self, url: str, count: int) -> None:
        clock = ManualClock()
        self._clock, self._account = clock, FakePagerDuty(clock)
        self._database = Database(url, clock=clock)
        self._database.upgrade()
        triggers = [Trigger(f"t{number}", ("incident.triggered",), "acme", ("ops",)) for number in range(count)]
        self._database.write_now(connections.ensure, ["acme"], triggers, clock())
        client = self._account.client(self._database)
        targets = {"ops": Target("ops", SecretStr("http://127.0.0.1:9/"), ())}
        self._poller = Poller(
            self._database, client, connection(), triggers, targets, instance="one", clock=clock, wake=_nobody_wakes
        )

    async def poll(self) -> Poll:
        """Advance the clock and poll."""
        self._clock.advance(PAUSE)
        calls, started = len(self._account.requests), time.process_time()
        await self._poller.run()
        return Poll(time.process_time() - started, len(self._account.requests) - calls)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def measure(*, quick: bool, databases: Mapping[str, Callable[[], str]]) -> None:
    """Poll with few and with many triggers, alternately, and print the costs."""
    new_database = next(iter(databases.values()))
    pairs = asyncio.run(_pairs(5 if quick else 200, new_database))
    calls = [sorted({poll.calls for poll in polls}) for polls in zip(*pairs, strict=True)]
    figures.show(
        f"a poll without news, {len(pairs)} of each alternately",
        (
            f"ratio of processor time, {TRIGGERS} triggers : 1 trigger",
            figures.Ratio.of(pairs, lambda poll: poll.seconds),
        ),
        (f"calls to PagerDuty, with {TRIGGERS} and with 1", " and ".join(str(*each) for each in calls)),
    )


async def _pairs(count: int, new_database: Callable[[], str]) -> list[tuple[Poll, Poll]]:
    many, one = Daemon(new_database(), TRIGGERS), Daemon(new_database(), 1)
    for daemon in (many, one):  # the first poll only stores a baseline
        await daemon.poll()
        await daemon.poll()
    pairs = [(await many.poll(), await one.poll()) for _ in range(count)]
    many.close()
    one.close()
    return pairs


def _nobody_wakes(_targets: Collection[str]) -> None:
    return
