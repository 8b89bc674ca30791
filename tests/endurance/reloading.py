"""Reloads under load, a third of them with a mistake: nothing lost or doubled, no descriptor or memory kept."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import psutil
import sqlalchemy as sa
import yaml

from daemon.simulator import Lifecycles
from daemon.storage import schema
from daemon.storage.database import Database
from tests.endurance import world
from tests.endurance.scenarios import PACE

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.simulator import Account
    from tests.endurance.world import World

Figures = dict[str, Any]
TOKEN = "endurance"
STAYS, COMES_AND_GOES = "target-0", "target-1"
MISTAKE = "nonsense: 1\n"
SWEEP_EVERY = "1m"  # so that each part of a long run has sweeps, which need the most memory
PARTS = 10  # of the run, each with figures of its own


async def reloads(
    folder: Path, url: str, *, count: int, rate: float, pause: float, seed: int, pace: float = PACE
) -> Figures:
    """Reload ``count`` times, ``pause`` seconds apart, while ``rate`` incidents begin per second."""
    async with world.world(folder, url, seed=seed, targets=2) as around:
        written = yaml.safe_load(around.configuration.read_text())
        written["api"] = {"listen": "127.0.0.1:0", "token": TOKEN}
        written["connections"]["acme"]["sweep_every"] = SWEEP_EVERY
        _write(around, written, 0)
        around.start()
        await around.baseline()
        stop = asyncio.Event()
        lifecycles = asyncio.create_task(_live(around.account, rate, seed, pace, stop))
        database = Database(around.database_url)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=_address(around), headers=headers, trust_env=False, timeout=60) as http:
            parts = await _reload_often(around, http, written, count, pause)
            _write(around, written, 0, without=COMES_AND_GOES)
            assert (await http.post("/v1/reload")).status_code == 200
        await around.until(lambda: database.read_now(_count, schema.instances) == 1)
        before = len(around.receivers[COMES_AND_GOES].got)
        around.account.trigger("After the last reload")
        stop.set()
        await lifecycles
        await around.until(lambda: not around.missing(STAYS), 120)
        assert around.stop() == 0
        figures = {
            "reloads": count,
            "messages": len(around.expected()),
            "lost": len(around.missing(STAYS)),
            "doubled": _doubled(around),
            "attempts_too_many": database.read_now(_repeated),
            "to_the_removed_target": len(around.receivers[COMES_AND_GOES].got) - before,
            "daemons_left": database.read_now(_count, schema.instances),
            "parts": parts,
        }
        database.close()
        bad = "lost", "doubled", "attempts_too_many", "to_the_removed_target", "daemons_left"
        assert not any(figures[each] for each in bad), figures
        return figures


async def long(folder: Path, url: str, *, seed: int) -> Figures:
    """Reload 1,000 times; descriptors and memory do not grow from the third to the last tenth."""
    figures = await reloads(folder, url, count=1000, rate=1, pause=0.1, seed=seed)
    early, late = figures["parts"][2], figures["parts"][-1]
    assert late["descriptors"] <= early["descriptors"] + 8, figures
    assert late["memory_mb"] <= 1.1 * early["memory_mb"] + 8, figures
    return figures


async def _reload_often(
    around: World, http: httpx.AsyncClient, written: dict[str, Any], count: int, pause: float
) -> list[Figures]:
    """Reload ``count`` times; return the figures of each part."""
    assert around.process is not None
    process = psutil.Process(around.process.pid)
    parts = []
    size = max(count // PARTS, 1)
    for first in range(1, count + 1, size):
        took, descriptors, memory = [], [], []
        for number in range(first, first + size):
            is_bad = number % 3 == 0
            _write(around, written, number, without=COMES_AND_GOES if number % 2 else None, more=MISTAKE * is_bad)
            began = time.monotonic()
            response = await http.post("/v1/reload")
            took.append(time.monotonic() - began)
            assert response.status_code == (422 if is_bad else 200), response.text
            await asyncio.sleep(pause)
            descriptors.append(process.num_fds())
            memory.append(process.memory_info().rss / 2**20)
        parts.append(
            {
                "until": first + size - 1,
                "median_ms": round(statistics.median(took) * 1000),
                "longest_ms": round(max(took) * 1000),
                "descriptors": round(statistics.median(descriptors)),
                "memory_mb": round(statistics.median(memory)),
            }
        )
    return parts


def _write(around: World, written: dict[str, Any], number: int, *, without: str | None = None, more: str = "") -> None:
    """Write another configuration, with or without a target."""
    targets = {name: each for name, each in written["targets"].items() if name != without}
    targets[STAYS] = targets[STAYS] | {"timeout": f"{5 + number % 7}s"}
    triggers = {name: each | {"to": list(targets)} for name, each in written["triggers"].items()}
    text = yaml.safe_dump(written | {"targets": targets, "triggers": triggers})
    around.configuration.write_text(text + more)


def _address(around: World) -> str:
    """Return the API's address, which the log names."""
    lines = map(orjson.loads, around.log().splitlines())
    return str(next(line["api"] for line in lines if line["event"] == "daemon.started"))


async def _live(account: Account, rate: float, seed: int, pace: float, stop: asyncio.Event) -> None:
    """Begin incidents at this rate until ``stop``, and run their lifecycles to the end."""
    lives = Lifecycles(account, rate=0, seed=seed, pace=pace)
    began = time.monotonic()
    due: object = True
    while not stop.is_set() or due is not None:
        while not stop.is_set() and lives.created < rate * (time.monotonic() - began):
            lives.create()
        due = lives.step(account.log.now())
        await asyncio.sleep(0.02)


def _doubled(around: World) -> int:
    """Return how many requests repeated a message that its target had accepted."""
    counts = [Counter(each.id for each in receiver.got) for receiver in around.receivers.values()]
    return sum(count - 1 for counted in counts for count in counted.values())


def _count(tx: sa.Connection, table: sa.Table) -> int:
    return int(tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def _repeated(tx: sa.Connection) -> int:
    """Return how many deliveries have more than one attempt."""
    return int(tx.execute(sa.select(sa.func.count()).where(schema.deliveries.c.attempts > 1)).scalar_one())
