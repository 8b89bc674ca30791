"""A long backlog: claims, a healthy target's latency and memory, with a thousand and with a million pending deliveries.

The backlog waits for targets that refuse connections; a tenth as many deliveries are old enough to be pruned.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import resource
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa
import structlog
import uvloop

from bench import figures, large, load
from bench.latency import TimedHook
from daemon.delivery.loop import DeliveryLoop
from daemon.maintenance import retention
from daemon.settings import RetentionPeriods
from daemon.storage import claims, schema, targets
from daemon.storage.database import Database
from daemon.storage.due import ClaimRequest
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Event, Json
    from daemon.storage.claims import TargetClaim

SHORT, LONG = 1_000, 1_000_000
BUSY = tuple(f"busy-{number:02}" for number in range(20))
HEALTHY = "healthy"
REFUSES = "http://127.0.0.1:9/hook"
EVENTS = 10  # of an incident
LIVE = 32  # deliveries claimed for each target at a time
CLAIMS = 15
MESSAGES = 100
EVERY_SECONDS = 0.05
SETTLE_SECONDS = 2.0
INSTANCE = "bench"
OLD = timedelta(days=200)
PERIODS = RetentionPeriods()


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What was measured beside one backlog: milliseconds, and MiB."""

    claim: float
    latency: float
    latency_while_pruning: float
    pruned: int
    memory: float


def measure(*, quick: bool, databases: Mapping[str, Callable[[], str]]) -> None:
    """Measure beside a short and a long backlog on each database, and print the ratios."""
    for name, new in databases.items():
        results = []
        for count in (SHORT, SHORT * 2 if quick else LONG):
            url = new()
            with contextlib.closing(Database(url)) as database:
                fill(database, count)
            command = [sys.executable, "-m", "bench.backlog", url]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results.append(Result(**json.loads(done.stdout)))
        short, long = results
        figures.show(
            f"{count:,} pending deliveries : {SHORT:,}, on {name}",
            ("ratio of the time of a claim", f"{long.claim / short.claim:.2f}  ({long.claim:.1f} ms)"),
            (
                "ratio of a healthy target's median latency",
                f"{long.latency / short.latency:.2f}  ({long.latency:.1f} ms)",
            ),
            (
                f"the same while {long.pruned:,} rows are pruned",
                f"{long.latency_while_pruning / short.latency:.2f}  ({long.latency_while_pruning:.1f} ms)",
            ),
            ("peak memory", f"{long.memory:.0f} MiB, and {short.memory:.0f} MiB"),
        )


def fill(database: Database, count: int) -> None:
    """Store ``count`` due deliveries, and a tenth as many that are old and done."""
    database.upgrade()
    now = database.read_now(database.now)
    number_of_events = count // len(BUSY)
    large.insert(database, schema.events, _events(number_of_events, now))
    large.insert(
        database,
        schema.messages,
        (
            {"id": f"msg_{seq}", "event_seq": seq, "trigger": "paged", "created_at": now}
            for seq in range(1, number_of_events + 1)
        ),
    )
    large.insert(database, schema.deliveries, _deliveries(number_of_events, count // 10, now))
    database.write_now(targets.ensure, [*BUSY, HEALTHY])
    database.write_now(large.finish)


def _events(count: int, now: datetime) -> Iterator[Json]:
    samples = load.events(EVENTS)
    payloads = [orjson.dumps(sample.payload).decode() for sample in samples]
    for seq in range(1, count + 1):
        sample = samples[seq % EVENTS]
        yield {
            "seq": seq,
            "id": f"evt_{seq:026}",
            "connection": "acme",
            "type": sample.type,
            "incident_id": large.incident_of(seq),
            "occurred_at": now,
            "detected_at": now,
            "detected_by": "log_entry",
            "payload": payloads[seq % EVENTS],
        }


def _deliveries(events: int, old: int, now: datetime) -> Iterator[Json]:
    """Return what is pending, in the journal's order, after what was delivered long ago."""
    for number in range(1, old + events * len(BUSY) + 1):
        pending = number > old
        seq = (number - old - 1) // len(BUSY) + 1 if pending else number % events + 1
        yield {
            "id": number,
            "message_id": f"msg_{seq}",
            "target": BUSY[(number - old - 1) % len(BUSY)] if pending else f"removed-{(number - 1) // events}",
            "incident_id": large.incident_of(seq),
            "state": "pending" if pending else "delivered",
            "attempts": 0 if pending else 1,
            "created_at": now if pending else now - OLD,
            "next_attempt_at": now if pending else now - OLD,
            "finished_at": None if pending else now - OLD,
        }


def _claims(database: Database) -> float:
    """Return the median duration of a claim for all busy targets, in seconds."""
    receivers = load.receivers([REFUSES])
    (order,) = {each.order for each in receivers.values()}
    requests = dict.fromkeys(BUSY, ClaimRequest(order, LIVE))
    seconds = []
    for _ in range(CLAIMS):
        started = time.perf_counter()
        claimed = database.write_now(_claim, requests, database.clock())
        seconds.append(time.perf_counter() - started)
        ids = [each.id for claim in claimed.values() for run in claim.runs for each in run.deliveries]
        assert len(ids) == LIVE * len(BUSY), len(ids)
        database.write_now(claims.give_back, ids, INSTANCE)
    return statistics.median(seconds)


def _claim(tx: sa.Connection, requests: Mapping[str, ClaimRequest], now: datetime) -> dict[str, TargetClaim]:
    return claims.claim(tx, requests, INSTANCE, now)


async def _latencies(database: Database) -> tuple[float, float, int]:
    """Return a healthy target's median latency, the same during pruning, and how many rows were pruned."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(TimedHook, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    names = (*BUSY, HEALTHY)
    urls = [*(REFUSES for _ in BUSY), f"http://127.0.0.1:{port}/hook"]
    receivers = {
        name: dataclasses.replace(target, name=name)
        for name, target in zip(names, load.receivers(urls).values(), strict=True)
    }
    deliveries = DeliveryLoop(database, receivers, INSTANCE)
    running = asyncio.create_task(deliveries.run())
    await asyncio.sleep(SETTLE_SECONDS)
    events = load.events(2 * MESSAGES)
    quiet = await _send(database, deliveries, events[:MESSAGES])
    old = _count_old(database)
    pruning = asyncio.create_task(retention.Retention(database, PERIODS, (), ()).run())
    while_pruning = await _send(database, deliveries, events[MESSAGES:])
    removed = old - _count_old(database)
    pruning.cancel()
    await deliveries.stop(timedelta(seconds=5))
    await running
    server.close()
    return quiet, while_pruning, removed


def _count_old(database: Database) -> int:
    count = sa.select(sa.func.count()).where(schema.deliveries.c.state == "delivered")
    return int(database.read_now(lambda tx: tx.execute(count).scalar_one()))


async def _send(database: Database, deliveries: DeliveryLoop, events: Sequence[Event]) -> float:
    """Create a message for the healthy target every now and then; return the median time from commit to arrival."""
    committed = {}
    for event in events:
        beside = dataclasses.replace(event, id=f"evt_beside{event.id}", connection="beside")
        await database.write(load.append, database, beside, (HEALTHY,))
        committed[f"msg_{beside.id}"] = time.monotonic()
        deliveries.wake([HEALTHY])
        await asyncio.sleep(EVERY_SECONDS)
    await eventually(lambda: not committed.keys() - dict(TimedHook.arrivals))
    arrivals = dict(reversed(TimedHook.arrivals))
    return statistics.median(arrivals[message] - at for message, at in committed.items())


def main() -> None:
    """Measure beside the backlog in the database, and print the result."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with contextlib.closing(Database(sys.argv[1])) as database:
        claim = _claims(database)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            quiet, beside, pruned = runner.run(_latencies(database))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dataclasses.asdict(Result(claim * 1000, quiet * 1000, beside * 1000, pruned, memory))))


if __name__ == "__main__":
    main()
