"""Scenarios with failing receivers: many bad ones beside good ones, and one that is down for long and recovers."""

from __future__ import annotations

import functools
import time
import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import sqlalchemy as sa

from daemon.simulator import history
from daemon.storage import schema
from daemon.storage.database import Database
from tests.endurance import world
from tests.harness.receivers import OK, Reply

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from tests.endurance.world import World
    from tests.harness.receivers import Receiver, Request

Figures = dict[str, Any]
HEALTHY = 10
BOMB_MIB = 256
SECOND = timedelta(seconds=1)


@functools.cache
def bomb(mib: int = BOMB_MIB) -> bytes:
    """Return this many MiB of zeros, compressed by gzip."""
    packer = zlib.compressobj(wbits=31)
    zeros = bytes(2**20)
    return b"".join([*(packer.compress(zeros) for _ in range(mib)), packer.flush()])


def bad_replies(mib: int) -> Sequence[Reply]:
    """Return the behaviours of bad receivers."""
    packed = {"content-encoding": "gzip", "content-type": "application/json"}
    return (
        Reply(how="hang"),
        Reply(how="drip", status=500),
        Reply(500, packed, body=bomb(mib)),
        Reply(200, packed, body=bomb(mib)),
        Reply(how="endless", status=500),
        Reply(307, {"location": "http://127.0.0.1:1/elsewhere"}),
        Reply(500),
        Reply(429, {"retry-after": "2"}),
        Reply(410),
        Reply(how="reset"),
    )


async def beside(
    folder: Path, url: str, *, incidents: int, seconds: float, rounds: int, seed: int, pace: float, mib: int = BOMB_MIB
) -> Figures:
    """Compare ten healthy targets beside ten bad ones and beside ten more healthy ones: 95th percentile and memory."""
    bad = bad_replies(mib)
    percentiles: dict[str, list[float]] = {"without": [], "with": []}
    memory: dict[str, int] = {}
    figures: Figures = {}
    for number in range(2 * rounds):
        name = "with" if number % 2 else "without"
        place = folder / f"{name}-{number}"
        place.mkdir()
        async with world.world(place, url, seed=seed + number, targets=HEALTHY + len(bad)) as around:
            for each, reply in enumerate(bad):
                if name == "with":
                    around.receivers[f"target-{HEALTHY + each}"].behave = functools.partial(_always, reply)
            around.start()
            await around.baseline()
            await world.live(around.account, incidents, seconds, seed + number, pace)
            healthy = [f"target-{each}" for each in range(HEALTHY)]
            expected = around.expected().keys()
            await around.until(functools.partial(_all_took, around, healthy, expected), 180)
            delays = sorted(
                each.at - detected(each) for target in healthy for each in around.receivers[target].accepted
            )
            percentiles[name].append(delays[int(len(delays) * 0.95)])
            if name == "with":
                figures["attempts_at_bad_ones"] = [len(each.got) for each in list(around.receivers.values())[HEALTHY:]]
                around.kill()  # otherwise hanging requests would be waited for
            else:
                assert around.stop() == 0
            memory[name] = around.peak_rss // 2**20
        _empty(url)
    middle = {name: sorted(each)[len(each) // 2] for name, each in percentiles.items()}
    return figures | {
        "p95_without_ms": [round(each * 1000) for each in percentiles["without"]],
        "p95_with_ms": [round(each * 1000) for each in percentiles["with"]],
        "ratio_of_medians": round(middle["with"] / middle["without"], 2),
        "peak_rss_mb": memory,
    }


async def outage(
    folder: Path, url: str, *, hours: float, rate: float, limit: int, live: int, seconds: float, seed: int, pace: float
) -> Figures:
    """Take down one of two targets while ``hours`` of incidents (``rate`` a minute) happen, then let it recover.

    Its ``limit`` is in calls per second. While it is down, and while it catches up, ``live`` more incidents happen.
    """
    options = {"target-0": {"rate_limit": {"calls": limit, "period": "1s"}, "concurrency": 16}}
    async with world.world(folder, url, seed=seed, targets=2, options=options) as around:
        down, healthy = around.receivers["target-0"], around.receivers["target-1"]
        down.behave = functools.partial(_always, Reply(500))
        if hours:
            await _let_pass(around, timedelta(hours=hours), rate, seed)
        else:
            around.start()
            await around.baseline()
        quiet = await _delays(around, healthy, live, seconds, seed + 1, pace)
        backlog, probes = len(around.expected()), len(down.got)

        down.behave = functools.partial(_always, OK)
        back = time.monotonic()
        await around.until(lambda: down.accepted, 90)
        noticed = time.monotonic() - back
        busy = await _delays(around, healthy, live, seconds, seed + 2, pace)
        still_behind = len(around.missing("target-0"))
        await around.until(around.all_arrived, 60 + 3 * backlog / limit)
        took = time.monotonic() - back
        assert around.stop() == 0
        report = around.report()
        report.check()
        times = sorted(each.at for each in down.accepted)
        return {
            "backlog": backlog,
            "probes_while_down": probes,
            "back_noticed_after_s": round(noticed, 2),
            "caught_up_after_s": round(took, 1),
            "per_second": round(len(times) / (times[-1] - times[0])),
            "most_in_a_second": world.most_in(1.0, times),
            "left_when_live_ones_were_measured": still_behind,
            "p95_of_the_other_ms": {"while_down": quiet, "while_catching_up": busy},
            "lost": report.lost,
            "out_of_order": report.out_of_order,
            "attempts_stored": _attempts(url),
            "peak_rss_mb": report.peak_rss_mb,
        }


async def _let_pass(around: World, away: timedelta, rate: float, seed: int) -> None:
    """Let hours pass without a running daemon, then wait until the healthy target has received everything."""
    with around.account.log.at(datetime.now(UTC) - away):
        around.start()
        await around.baseline()
        assert around.stop() == 0
    now = datetime.now(UTC)
    history(around.account, now - away + 2 * SECOND, now - 2 * SECOND, rate=rate, seed=seed)
    for entry in around.account.log.entries:
        entry.visible_at = entry.created_at
    around.start()
    await around.until(lambda: not around.missing("target-1"), 3600)


async def _delays(around: World, healthy: Receiver, incidents: int, seconds: float, seed: int, pace: float) -> int:
    """Return the 95th percentile of a target's delays during some more incidents, in milliseconds."""
    before = len(healthy.accepted)
    await world.live(around.account, incidents, seconds, seed, pace)
    await around.until(lambda: not around.missing("target-1"), 120)
    delays = sorted(each.at - detected(each) for each in healthy.accepted[before:])
    return round(delays[int(len(delays) * 0.95)] * 1000)


def _empty(url: str) -> None:
    """Delete the data of a round, so that the next one starts empty."""

    def delete(tx: sa.Connection) -> None:
        for table in schema.metadata.sorted_tables:
            tx.execute(table.delete())

    database = Database(url)
    try:
        database.write_now(delete)
    finally:
        database.close()


def _attempts(url: str) -> int:
    database = Database(url)
    try:
        counted = sa.select(sa.func.count()).select_from(schema.attempts)
        return int(database.read_now(lambda tx: tx.execute(counted).scalar_one()))
    finally:
        database.close()


def _always(reply: Reply, _request: Request) -> Reply:
    return reply


def _all_took(around: World, targets: Sequence[str], expected: Collection[str]) -> bool:
    return all(set(expected) <= around.accepted(each) for each in targets)


def detected(request: Request) -> float:
    """Return when the event of a message was detected."""
    return datetime.fromisoformat(orjson.loads(request.body)["data"]["detected_at"]).timestamp()
