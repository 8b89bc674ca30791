"""Delivery: pagerelay, which signs and records, against a bare aiohttp loop, which signs and forgets."""

from __future__ import annotations

import asyncio
import base64
import gc
import hmac
import sys
import threading
import time
import uuid
from collections import defaultdict
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import aiohttp
import uvloop

from bench import figures, load, receiver
from daemon.delivery.loop import DeliveryLoop
from daemon.delivery.recorder import Records
from daemon.formats import standard
from daemon.model import Message
from daemon.outbound import signing
from daemon.outbound.sender import Sender
from daemon.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import sqlalchemy as sa

    from bench.receiver import Receivers

P = ParamSpec("P")
T = TypeVar("T")

TARGETS = 20
EVENTS = 2000
PYTHONS_OWN = (700, 10, 10), 0.005  # between collections, and turns of threads in seconds
KEY = base64.b64decode(load.SECRET.removeprefix("whsec_"))


@dataclass(frozen=True, slots=True)
class Run:
    """One run: deliveries, how long they took, and the processor time of each part, in seconds."""

    count: int
    seconds: float
    loop: float
    process: float
    database: Mapping[str, float]
    receivers: float

    @property
    def rate(self) -> float:
        """Return deliveries per second."""
        return self.count / self.seconds


class Watched(Database):
    """A database that measures the processor time of its threads, and sets ``done`` after ``expected`` results."""

    def __init__(self, url: str, expected: int) -> None:
        super().__init__(url)
        self.effort: defaultdict[str, float] = defaultdict(float)
        self.claiming = asyncio.Event()
        self.done = asyncio.Event()
        self._lock = threading.Lock()
        self._left = expected

    async def write(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write as in the daemon, and count the recorded results."""
        self.claiming.set()
        value = await super().write(function, *args, **kwargs)
        if args and isinstance(args[0], Records):
            self._left -= len(args[0].results)
            if self._left <= 0:
                self.done.set()
        return value

    def write_now(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Write as in the daemon, timed."""
        with self._timed(function.__name__):
            return super().write_now(function, *args, **kwargs)

    def read_now(self, function: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read as in the daemon, timed."""
        with self._timed(function.__name__):
            return super().read_now(function, *args, **kwargs)

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        before = time.thread_time()
        yield
        with self._lock:
            self.effort[name] += time.thread_time() - before


def measure(*, quick: bool, databases: dict[str, Callable[[], str]]) -> None:
    """Compare on every database, alternately, and print the results."""
    count, rounds = (5, 1) if quick else (EVENTS, 5)
    messages = load.bodies(count)
    size = sum(len(body) for _, body in messages) // count
    print(
        f"{count} events × {TARGETS} targets = {count * TARGETS} deliveries of {size} bytes, alternating runs: {rounds}"
    )
    with receiver.receivers(TARGETS) as receivers:
        for name, new in databases.items():
            bare, ours = [], []
            for _ in range(rounds):
                bare.append(baseline(receivers, messages))
                ours.append(pagerelay(receivers, new(), count))
            _report(name, bare, ours)


def baseline(receivers: Receivers, messages: Sequence[tuple[str, bytes]]) -> Run:
    """Deliver as a script would: aiohttp on the standard loop, signed, nothing stored."""
    effort = receivers.effort()
    process = time.process_time()
    with _untuned(), asyncio.Runner() as runner:
        seconds = runner.run(_bare(receivers.urls, messages))
    used = time.process_time() - process
    return Run(len(messages) * TARGETS, seconds, used, used, {}, receivers.effort() - effort)


@contextmanager
def _untuned() -> Iterator[None]:
    """Run with the interpreter's own settings, not with the daemon's."""
    collections, turns = gc.get_threshold(), sys.getswitchinterval()
    _set(*PYTHONS_OWN)
    yield
    _set(collections, turns)


def _set(collections: tuple[int, int, int], turns: float) -> None:
    gc.set_threshold(*collections)
    sys.setswitchinterval(turns)


def signed(message_id: str, body: bytes) -> dict[str, str]:
    """Return the headers of a request, as in the example of Standard Webhooks' specification."""
    timestamp = int(time.time())
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signature = base64.b64encode(hmac.digest(KEY, content, "sha256")).decode()
    return {
        "content-type": "application/json",
        "user-agent": "bare",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


async def _bare(urls: Sequence[str], messages: Sequence[tuple[str, bytes]]) -> float:
    async def work(url: str, queue: Iterator[tuple[str, bytes]]) -> None:
        for message_id, body in queue:
            headers = signed(message_id, body)
            async with session.post(url, data=body, headers=headers) as response:
                await response.read()
                assert response.ok

    connector = aiohttp.TCPConnector(limit=TARGETS * load.CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector) as session:
        started = time.perf_counter()
        queues = [(url, iter(messages)) for url in urls]
        await asyncio.gather(*(work(*queue) for queue in queues for _ in range(load.CONCURRENCY)))
        return time.perf_counter() - started


def pagerelay(
    receivers: Receivers,
    url: str,
    count: int,
    senders: Callable[..., Sender] = Sender,
    beside: Callable[[Database], AbstractAsyncContextManager[object]] | None = None,
) -> Run:
    """Deliver with the daemon's own loop, timed from the first claim to the commit of the last result.

    ``beside`` is what else goes on meanwhile.
    """
    targets = load.receivers(receivers.urls)
    empty = Database(url)
    load.fill(empty, list(targets), count)
    empty.close()
    database = Watched(url, count * TARGETS)
    deliveries = DeliveryLoop(database, targets, f"bench-{uuid.uuid4().hex}", senders=senders)
    effort = receivers.effort()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        seconds, loop, used = runner.run(_deliver(deliveries, database, beside(database) if beside else nullcontext()))
    effort = receivers.effort() - effort
    effort_by_function = database.effort.copy()
    assert load.delivered(database) == count * TARGETS
    database.close()
    return Run(count * TARGETS, seconds, loop, used, effort_by_function, effort)


async def _deliver(
    deliveries: DeliveryLoop, database: Watched, beside: AbstractAsyncContextManager[object]
) -> tuple[float, float, float]:
    """Deliver everything; return the seconds, and the processor time of this thread and of the process."""
    async with beside:
        running = asyncio.create_task(deliveries.run())
        await database.claiming.wait()
        started, loop, process = time.perf_counter(), time.thread_time(), time.process_time()
        done = asyncio.create_task(database.done.wait())
        await asyncio.wait([done, running], return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            await running  # it failed
        durations = time.perf_counter() - started, time.thread_time() - loop, time.process_time() - process
    await deliveries.stop(timedelta(seconds=5))
    await running
    return durations


def _report(name: str, bare: Sequence[Run], ours: Sequence[Run]) -> None:
    pairs = list(zip(ours, bare, strict=True))
    runs = [*bare, *ours]
    capacity = sum(run.count for run in runs) / max(sum(run.receivers for run in runs), 0.01)  # per second and core
    fastest = max(run.rate for run in runs)
    figures.show(
        f"delivery on {name}",
        ("ratio of deliveries per second, pagerelay : bare aiohttp", figures.Ratio.of(pairs, lambda run: run.rate)),
        (
            "ratio of processor time, pagerelay : bare aiohttp",
            figures.Ratio.of(pairs, lambda run: run.process / run.count),
        ),
        ("ratio of the receivers' capacity : the fastest run", f"{capacity / fastest:.1f}"),
    )
    _shares(ours)


def _shares(runs: Sequence[Run]) -> None:
    """Print the shares of one delivery's processor time, in the median run."""
    run = sorted(runs, key=lambda one: one.process / one.count)[len(runs) // 2]
    render, sign = _render_and_sign(run.count // TARGETS)
    database = run.database
    parts = {
        "claim (database thread)": database["_claim"],
        "load and render": database["load"] + render,
        "sign": sign * run.count,
        "POST, in the loop": run.loop - render - sign * run.count,
        "everything else": run.process - run.loop - sum(database.values()),
        "record (database thread)": database["_write"],
    }
    total = sum(parts.values())
    print(f"  processor time of a delivery: {total / run.count * 1e6:.0f} µs")
    print(f"  the event loop's thread was busy {run.loop / run.seconds:.0%} of the time")
    for name, seconds in parts.items():
        print(f"    {name:<30} {seconds / total:>5.0%} {seconds / run.count * 1e6:>6.1f} µs")


def _render_and_sign(count: int) -> tuple[float, float]:
    """Return the processor seconds for rendering all of ``count`` events once, and for one signature."""
    messages = [Message(f"msg_{event.id}", "paged", event.type, event) for event in load.events(count)]
    started = time.thread_time()
    bodies = [standard.body(event) for event in messages]
    signing_began = time.thread_time()
    key = signing.key(load.SECRET)
    for message, body in zip(messages, bodies, strict=True):
        signing.signature((key,), message.id, 1_795_428_000, body)
    return signing_began - started, (time.thread_time() - signing_began) / count


def sqlite_in(folder: Path) -> str:
    """Return the URL of a new file."""
    return f"sqlite:///{folder / f'{uuid.uuid4().hex}.db'}"
