"""The scenarios: each puts the daemon through one kind of failure, checks the promises, and returns figures."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from daemon.simulator import history
from tests.endurance import world

if TYPE_CHECKING:
    from pathlib import Path

    from tests.endurance.world import World

Figures = dict[str, Any]
STRICT = {"calls": 30, "period": "60s", "poll_interval": "2500ms"}
SECOND = timedelta(seconds=1)
PACE = 20.0  # an incident lasts seconds, not minutes


async def faults(
    folder: Path,
    url: str,
    *,
    incidents: int,
    seconds: float,
    seed: int,
    pace: float = PACE,
    without: tuple[str, ...] = (),
) -> Figures:
    """Apply every fault at both ends while incidents happen, beside a naive poller of /incidents."""
    moody = world.Moody(0.1, random.Random(seed))
    async with world.world(folder, url, seed=seed, behave=moody) as around:
        around.start()
        await around.baseline()
        rates = {name: rate for name, rate in world.FAULTS.items() if name not in without}
        around.simulator.faults.set(rates, seed)
        naive = asyncio.create_task(naive_poller(around, every=0.2))
        await world.live(around.account, incidents, seconds, seed, pace)
        around.simulator.faults.clear()
        await around.until(around.all_arrived, 60 + 4 * seconds)
        naive.cancel()
        assert around.stop() == 0
        report = around.report()
        report.check()
        events = {(each.incident_id, each.type.partition(".")[2]) for each in around.account.log.ledger}
        lost = len(around.account.log.ledger) - len(events & around.naive)
        return dataclasses.asdict(report) | {
            "covered_by_other_entries": len(around.expected().keys() - around.accepted("target-0")),
            "naive_poller_lost": f"{lost} of {report.events}",
        }


async def crash(
    folder: Path,
    url: str,
    *,
    incidents: int,
    seconds: float,
    kills: int,
    seed: int,
    limits: dict[str, Any] | None,
    pace: float = PACE,
) -> Figures:
    """Send ``kill -9`` at random moments under load; with ``limits``, the budget holds across restarts."""
    chance = random.Random(seed)
    moments = sorted(chance.uniform(0.05, 0.95) * seconds for _ in range(kills))
    async with world.world(folder, url, seed=seed, limits=limits, behave=world.Moody(0.05, chance)) as around:
        around.start()
        await around.baseline()
        lifecycles = asyncio.create_task(world.live(around.account, incidents, seconds, seed, pace))
        began = time.monotonic()
        for moment in moments:
            await asyncio.sleep(max(began + moment - time.monotonic(), 0))
            around.kill()
            around.start()
        await lifecycles
        await around.until(around.all_arrived, 60 + 4 * seconds)
        assert around.stop() == 0
        report = around.report()
        report.check()
        if limits is not None:
            assert report.most_calls_in_a_period <= limits["calls"], report
        return dataclasses.asdict(report) | {"kills": kills}


async def downtime(
    folder: Path, url: str, *, days: float, rate: float, seed: int, limits: dict[str, Any] | None = None
) -> Figures:
    """Start the daemon after a downtime; it reads the log in windows, oldest first, within the budget."""
    async with world.world(folder, url, seed=seed, limits=limits) as around:
        account, away = around.account, timedelta(days=days)
        with account.log.at(datetime.now(UTC) - away):
            around.start()
            await around.baseline()
            assert around.stop() == 0
        began = datetime.now(UTC)
        history(account, began - away + 2 * SECOND, began - 2 * SECOND, rate=rate, seed=seed)
        for entry in account.log.entries:
            entry.visible_at = entry.created_at
        before, started = len(around.calls), time.monotonic()
        around.start()
        await around.until(around.all_arrived, 1800)
        took = time.monotonic() - started
        assert around.stop() == 0
        report = around.report()
        report.check()
        (receiver,) = around.receivers.values()
        times = [_occurred(each.body) for each in receiver.accepted]
        inversions = sum(later < earlier for earlier, later in itertools.pairwise(times))
        if limits is not None:
            assert report.most_calls_in_a_period <= limits["calls"], report
        return dataclasses.asdict(report) | {
            "calls_to_catch_up": len(around.calls) - before,
            "seconds": round(took),
            "arrivals_older_than_the_one_before": inversions,
        }


async def idle(folder: Path, url: str, *, seconds: float, seed: int) -> Figures:
    """Watch an idle account at the connector's own interval: memory and CPU."""
    limits = {"calls": 30, "period": "60s", "poll_interval": "30s"}
    async with world.world(folder, url, seed=seed, limits=limits) as around:
        began = time.monotonic()
        around.start()
        await around.until(lambda: "daemon.started" in around.log())
        ready = time.monotonic() - began
        await asyncio.sleep(5)
        before, calls = around.cpu_seconds(), len(around.calls)
        await asyncio.sleep(seconds)
        cpu = around.cpu_seconds() - before
        polls = len(around.calls) - calls
        assert around.stop() == 0
        return {
            "seconds": seconds,
            "started_in_s": round(ready, 2),
            "rss_mb": around.peak_rss // 2**20,
            "cpu_percent": round(100 * cpu / seconds, 2),
            "calls": polls,
        }


async def naive_poller(around: World, *, every: float) -> None:
    """Poll for incidents since the last poll, as most programs do, and compare their states."""
    seen = around.naive
    since = datetime.now(UTC) - SECOND
    headers = {"Authorization": f"Token token={around.account.api_key}"}
    async with httpx.AsyncClient(base_url=around.url, headers=headers, timeout=5) as client:
        while True:
            polled_at = datetime.now(UTC)
            try:
                response = await client.get("/incidents", params={"since": since.isoformat()})
                incidents = (
                    orjson.loads(response.content)["incidents"] if response.status_code == httpx.codes.OK else []
                )
            except (httpx.HTTPError, orjson.JSONDecodeError):
                incidents = []  # the page is skipped, the clock moves on
            for incident in incidents:
                seen.add((incident["id"], "triggered"))
                seen.add((incident["id"], incident["status"]))
                seen.update((incident["id"], "assigned") for _ in incident["assignments"])
            since = polled_at
            await asyncio.sleep(every)


def _occurred(body: bytes) -> str:
    at: str = orjson.loads(body)["timestamp"]
    return at
