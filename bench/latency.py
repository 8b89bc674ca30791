"""Latency: from the end of PagerDuty's answer to the first byte at each target, while other deliveries run."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import re
import statistics
import subprocess
import sys
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

import uvloop

from bench import figures, load, receiver
from daemon.delivery.loop import DeliveryLoop
from daemon.ingest.poller import Poller
from daemon.model import DeliveryState
from daemon.settings import Trigger
from daemon.storage import connections, targets
from daemon.storage.database import Database, system_clock
from daemon.storage.deliveries import count_by_target
from tests.conftest import ManualClock
from tests.harness.eventually import eventually
from tests.harness.fake_pagerduty import FakePagerDuty, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import httpx


TARGETS = 20
EVENTS = 20
POLL_SECONDS = 30
BACKGROUND_SECONDS = 0.4  # between two messages for all targets: 50 deliveries per second
SETTLE_SECONDS = 1.0
BACKGROUND = "background"
MESSAGE_ID = re.compile(rb"webhook-id: (\S+)")


class TimedHook(receiver.Hook):
    """A connection that notes when each message's first bytes arrived."""

    arrivals: ClassVar[list[tuple[str, float]]] = []

    def data_received(self, data: bytes) -> None:
        """Note the time of a message, and respond."""
        now = time.monotonic()
        self.arrivals.extend((message_id.decode(), now) for message_id in MESSAGE_ID.findall(data))
        super().data_received(data)


class RunningClock(ManualClock):
    """The system's clock, moved forward from poll to poll."""

    ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Return the time."""
        return system_clock() + self.ahead

    def advance(self, seconds: float) -> datetime:
        """Move on."""
        self.ahead += timedelta(seconds=seconds)
        return self()


class TimedPagerDuty(FakePagerDuty):
    """An account that notes when it last answered."""

    answered_at = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Return the response to one request."""
        response = super().answer(request)
        self.answered_at = time.monotonic()
        return response


def measure(*, quick: bool, databases: dict[str, Callable[[], str]]) -> None:
    """Measure on every database, and print percentiles."""
    rounds = 1 if quick else 40
    for name, new in databases.items():
        command = [sys.executable, "-m", "bench.latency", str(TARGETS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            urls = receiver.Receivers(process).urls
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                answers = runner.run(_polls(urls, new(), rounds))
            output, _ = process.communicate("")
        arrivals = [at for message_id, at in json.loads(output) if BACKGROUND not in message_id]
        assert len(arrivals) == rounds * EVENTS * TARGETS, len(arrivals)
        seconds = [at - max(each for each in answers if each <= at) for at in arrivals]
        median, late = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
        figures.show(
            f"latency on {name}: {EVENTS} events × {TARGETS} targets per poll, {rounds} polls, beside 50 deliveries/s",
            ("median", f"{median * 1000:.0f} ms"),
            ("95th percentile", f"{late * 1000:.0f} ms"),
        )


async def _polls(urls: Sequence[str], url: str, rounds: int) -> list[float]:
    """Poll ``rounds`` times with new events each; return when PagerDuty had answered."""
    clock, receivers = RunningClock(), load.receivers(urls)
    account, database = TimedPagerDuty(clock), Database(url, clock=clock)
    database.upgrade()
    triggers = [Trigger("paged", ("incident.triggered",), "acme", tuple(receivers))]
    database.write_now(connections.ensure, ["acme"], triggers, clock())
    database.write_now(targets.ensure, list(receivers))
    deliveries = DeliveryLoop(database, receivers, "one", clock=clock)
    client = account.client(database)
    poller = Poller(
        database, client, connection(), triggers, receivers, instance="one", clock=clock, wake=deliveries.wake
    )
    delivering = asyncio.create_task(deliveries.run())
    background = asyncio.create_task(_background(database, tuple(receivers), deliveries.wake))
    await poller.run()
    answers = []
    for number in range(rounds):
        clock.advance(POLL_SECONDS)
        for each in range(EVENTS):
            account.happen("trigger", f"P{number}X{each}")
        clock.advance(POLL_SECONDS)
        await poller.run()
        answers.append(account.answered_at)
        await asyncio.sleep(SETTLE_SECONDS)
    background.cancel()
    await eventually(lambda: database.read(count_by_target, DeliveryState.PENDING), expected={})
    await deliveries.stop(timedelta(seconds=5))
    await delivering
    database.close()
    return answers


async def _background(database: Database, names: tuple[str, ...], wake: Callable[[Collection[str]], None]) -> None:
    """Create a message for all targets every now and then."""
    for event in load.events(10_000):
        background = dataclasses.replace(event, id=f"{BACKGROUND}_{event.id}", connection=BACKGROUND)
        await database.write(load.append, database, background, names)
        wake(names)
        await asyncio.sleep(BACKGROUND_SECONDS)


async def _serve(count: int) -> None:
    """Run the receivers until standard input is closed, and print the arrivals."""
    gc.disable()  # a collection looks at all modules: a pause of 60 ms, which would count as pagerelay's
    await receiver.serve(count, TimedHook)
    print(json.dumps(TimedHook.arrivals), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner_of_receivers:
        runner_of_receivers.run(_serve(int(sys.argv[1])))
