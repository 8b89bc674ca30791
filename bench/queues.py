"""Task queues: Procrastinate on PostgreSQL, and Celery with Redis, send the same webhooks as pagerelay.

Each is one process, with as many requests at a time as pagerelay has; each stores every result. Neither keeps the
order of an incident, retries, or watches over its targets. Without the packages of ``requirements/bench.txt`` or
without redis-server, the comparison is left out, and a line says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from bench import delivery, figures, load, receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.delivery import Run
    from bench.receiver import Receivers

EVENTS = 500
REQUESTS = delivery.TARGETS * load.CONCURRENCY
CONNECTIONS = 20  # of Procrastinate to PostgreSQL
REDIS = shutil.which("redis-server")
STARTED = "Ready to accept connections"
BARE, PROCRASTINATE, CELERY = "bare aiohttp loop", "Procrastinate", "Celery with Redis"
REMEDIES = {
    PROCRASTINATE: "pip install -r requirements/bench.txt",
    CELERY: "pip install -r requirements/bench.txt; apt install redis-server",
}
PLOT = Path(__file__).parents[1] / "docs" / "deliveries-per-second.svg"


def measure(*, quick: bool, databases: Mapping[str, Callable[[], str]]) -> None:
    """Compare with each queue that is installed, alternately, and print the ratios."""
    count, rounds = (5, 1) if quick else (EVENTS, 3)
    runs = _alternate(databases, load.bodies(count), rounds)
    for ours, other in (("PostgreSQL", PROCRASTINATE), ("SQLite", CELERY)):
        name = f"pagerelay on {ours}"
        if ours not in databases:
            continue
        if other not in runs:
            print(f"\nnot compared with {other}, which is missing ({REMEDIES[other]})")
            continue
        pairs = list(zip(runs[name], runs[other], strict=True))
        figures.show(
            f"{name} : {other}, {pairs[0][0].count} deliveries",
            (f"ratio of deliveries per second, {name} : {other}", figures.Ratio.of(pairs, lambda run: run.rate)),
            ("ratio of processor time", figures.Ratio.of(pairs, lambda run: run.process / run.count)),
        )
    if not quick and runs.keys() >= {PROCRASTINATE, CELERY}:
        PLOT.write_text(_plot(runs), encoding="utf-8")
        print(f"\nwrote {PLOT}")


def _alternate(
    databases: Mapping[str, Callable[[], str]], messages: Sequence[tuple[str, bytes]], rounds: int
) -> dict[str, list[Run]]:
    """Run everything in turn, and return the runs by name; what is not installed has none."""
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    with receiver.receivers(delivery.TARGETS) as receivers:
        for _ in range(rounds):
            runs[BARE].append(delivery.baseline(receivers, messages))
            for name, new in databases.items():
                runs[f"pagerelay on {name}"].append(delivery.pagerelay(receivers, new(), len(messages)))
            if "PostgreSQL" in databases and importlib.util.find_spec("procrastinate"):
                runs[PROCRASTINATE].append(_procrastinate(receivers, databases["PostgreSQL"](), messages))
            if "SQLite" in databases and importlib.util.find_spec("celery") and REDIS:
                runs[CELERY].append(_celery(receivers, messages))
    return dict(runs)


def _plot(runs: Mapping[str, Sequence[Run]]) -> str:
    """Return a bar chart of deliveries per second as SVG, each beside the bare loop of the same round."""
    ratios = {
        name: figures.Ratio.of(zip(those, runs[BARE], strict=True), lambda run: run.rate)
        for name, those in runs.items()
    }
    return figures.bars(f"Deliveries per second, {BARE} = 1", ratios)


def _procrastinate(receivers: Receivers, url: str, messages: Sequence[tuple[str, bytes]]) -> Run:
    """Send every message to every target as a job of its own; timed from the worker's start to its end."""
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    process = time.process_time()
    seconds, before = asyncio.run(_work_off(url.replace("+psycopg", ""), receivers.urls, messages))
    count = len(messages) * len(receivers.urls)
    return delivery.Run(count, seconds, 0.0, time.process_time() - process - before, {}, 0.0)


async def _work_off(url: str, urls: Sequence[str], messages: Sequence[tuple[str, bytes]]) -> tuple[float, float]:
    """Return the duration, and the processor time that was spent on creating the jobs."""
    import procrastinate  # noqa: PLC0415 - only where it is installed

    began = time.process_time()
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=url, min_size=CONNECTIONS, max_size=CONNECTIONS)
    )
    connector = aiohttp.TCPConnector(limit=REQUESTS)
    async with app.open_async(), aiohttp.ClientSession(connector=connector) as session:
        await app.schema_manager.apply_schema_async()

        @app.task(name="deliver", retry=True)  # type: ignore[untyped-decorator]
        async def deliver(target: str, message_id: str, body: str) -> None:
            content = body.encode()
            async with session.post(target, data=content, headers=delivery.signed(message_id, content)) as response:
                await response.read()
                response.raise_for_status()

        jobs: list[dict[str, Any]] = [
            {"target": target, "message_id": message_id, "body": body.decode()}
            for message_id, body in messages
            for target in urls
        ]
        await deliver.batch_defer_async(*jobs)
        before, started = time.process_time() - began, time.perf_counter()
        await app.run_worker_async(concurrency=REQUESTS, wait=False, listen_notify=False, install_signal_handlers=False)
        return time.perf_counter() - started, before


def _celery(receivers: Receivers, messages: Sequence[tuple[str, bytes]]) -> Run:
    """Send every message to every target as a task of its own; timed from the first task's start to the last's end."""
    from bench import celery_worker  # noqa: PLC0415 - only where it is installed

    count = len(messages) * len(receivers.urls)
    with _redis() as url:
        deliver = celery_worker.task(url)
        for message_id, body in messages:
            for target in receivers.urls:
                deliver.delay(target, message_id, body.decode())
        command = [sys.executable, "-m", "bench.celery_worker", url, str(REQUESTS), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, process = json.loads(done.stdout.splitlines()[-1])
    return delivery.Run(count, seconds, 0.0, process, {}, 0.0)


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    """Run a Redis of our own, which writes nothing to the disk, and listens on a socket in its folder only."""
    assert REDIS is not None
    with tempfile.TemporaryDirectory(prefix="pagerelay-bench-") as folder:
        path = f"{folder}/redis.sock"
        command = [REDIS, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            for line in server.stdout:
                if STARTED in line or path in line:
                    break
            try:
                yield f"redis+socket://{path}"
            finally:
                server.terminate()
