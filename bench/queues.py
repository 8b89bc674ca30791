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


def measure(*, quick: bool, databases: Mapping[str, Callable[[], str]]) -> None:
    """Compare with each queue that is installed, alternately, and print the ratios."""
    count, rounds = (25, 1) if quick else (EVENTS, 5)
    messages = load.bodies(count)
    with receiver.receivers(delivery.TARGETS) as receivers:
        if new := databases.get("PostgreSQL"):
            if importlib.util.find_spec("procrastinate"):
                pairs = [
                    (delivery.pagerelay(receivers, new(), count), _procrastinate(receivers, new(), messages))
                    for _ in range(rounds)
                ]
                _report("pagerelay on PostgreSQL : Procrastinate", pairs)
            else:
                print("\nnot compared with Procrastinate, which is missing (pip install -r requirements/bench.txt)")
        if new := databases.get("SQLite"):
            if importlib.util.find_spec("celery") and REDIS:
                pairs = [
                    (delivery.pagerelay(receivers, new(), count), _celery(receivers, messages)) for _ in range(rounds)
                ]
                _report("pagerelay on SQLite : Celery with Redis", pairs)
            else:
                print(
                    "\nnot compared with Celery: it or Redis is missing "
                    "(pip install -r requirements/bench.txt, apt install redis-server)"
                )


def _report(title: str, pairs: Sequence[tuple[Run, Run]]) -> None:
    figures.show(
        f"{title}, {pairs[0][0].count} deliveries",
        (f"ratio of deliveries per second, {title}", figures.Ratio.of(pairs, lambda run: run.rate)),
        ("ratio of processor time", figures.Ratio.of(pairs, lambda run: run.process / run.count)),
    )


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
