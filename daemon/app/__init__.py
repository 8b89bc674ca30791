"""The composition root: it builds every part from the settings, starts the parts in order and ends them in order.

Only this package knows how the parts fit together. ``generation`` holds what a reload replaces, ``reloading`` how.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Gauge

import daemon
from daemon import api, config, maintenance
from daemon.app.generation import Generation, Process
from daemon.app.reloading import Reloader, install
from daemon.app.schema_upgrade import SchemaUpgrade
from daemon.config import hints
from daemon.control import Current, Waiting
from daemon.control.changes import Changes
from daemon.runtime import descriptors, identity, systemd
from daemon.runtime import log as logging
from daemon.settings import fingerprint
from daemon.storage import action_queue, claims, connections, instances, messages, sqlite, targets
from daemon.storage.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import sqlalchemy as sa

    from daemon.config import Loaded
    from daemon.settings import Settings

log = structlog.get_logger()

GRACE = timedelta(seconds=8)
LONGEST_END = timedelta(seconds=9.5)
MARGIN = timedelta(seconds=5)  # beside the longest attempt
LONGEST_WINDOW = timedelta(minutes=10)  # that a replaced configuration may go on reading


async def run(
    loaded: Loaded, *, ready: Callable[[str | None], None] | None = None, stop: asyncio.Event | None = None
) -> None:
    """Run the daemon until SIGTERM or SIGINT, or until ``stop`` is set (then signals are left alone).

    ``ready`` is called once everything runs, with the API's address (None without API).
    Raises DatabaseError (also SchemaTooNew, DatabaseInUse) if the database cannot be used.
    """
    started = time.perf_counter()
    descriptors.raise_limit()
    for hint in hints.of(loaded.settings):
        log.warning("configuration.suspicious", hint=hint)
    async with _until(stop) as stopping, _running(loaded, signals=stop is None) as address:
        log.info(
            "daemon.started", version=daemon.__version__, api=address, took=f"{time.perf_counter() - started:.3f}s"
        )
        systemd.notify("READY=1\nSTATUS=")
        if ready is not None:
            ready(address)
        await stopping.wait()
        systemd.notify("STOPPING=1")
        log.info("daemon.stopping")
    log.info("daemon.stopped")


@contextlib.asynccontextmanager
async def _until(stop: asyncio.Event | None) -> AsyncIterator[asyncio.Event]:
    """Yield the event that ends the daemon: ``stop``, or else one that signals set.

    After a signal the process ends within ``LONGEST_END``, even if a hanging thread would keep it alive.
    """
    if stop is not None:
        yield stop
        return
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    guard = threading.Timer(LONGEST_END.total_seconds(), _abandon)
    guard.daemon = True

    def end() -> None:
        if not stopping.is_set():
            guard.start()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        yield stopping
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _abandon() -> None:
    """End the process although a thread hangs, which could otherwise keep the process alive for ever."""
    log.warning("daemon.abandoned", error="a thread does not respond; unfinished work will be repeated")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextlib.asynccontextmanager
async def _running(loaded: Loaded, *, signals: bool) -> AsyncIterator[str | None]:
    """Start every part of the daemon, and end them in the opposite order; yield the API's address."""
    settings = loaded.settings
    async with contextlib.AsyncExitStack() as parts:
        bound = api.bind(settings)
        if bound is not None:
            parts.callback(bound.close)
        upgrade = SchemaUpgrade()
        async with systemd.long_start("opening the database, and upgrading its schema if necessary", upgrade.tick):
            database = await asyncio.to_thread(_open, settings, upgrade)
        parts.callback(database.close)
        metrics = _registry(database)
        process = Process(database, metrics, Waiting(), Changes())
        parts.push_async_callback(process.traces.close)
        work = Work(process)
        reloader = Reloader(loaded, metrics, work.replace)
        current = await work.begin(settings, reloader)
        parts.push_async_callback(work.end)
        if signals:
            parts.callback(install(reloader))
        yield await parts.enter_async_context(api.serving(database, current, metrics=metrics, bound=bound))


class Work:
    """The generation that works now, and those before it that end what they have begun."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._reloader: Reloader
        self._newest: Generation
        self._current: Current
        self._ending: dict[asyncio.Task[None], Generation] = {}

    async def begin(self, settings: Settings, reloader: Reloader) -> Current:
        """Start the first generation; return what requests see of it, and of those that replace it."""
        self._reloader = reloader
        self._newest = await self._next(settings)
        await self._process.database.read(_log_orphaned, settings)
        self._newest.start()
        self._current = Current(settings, self._newest.services)
        return self._current

    async def replace(self, settings: Settings) -> None:
        """Start another generation in the place of the current one, which ends in the background."""
        old = self._newest
        new = await self._next(settings, is_first=False)
        logging.configure(
            settings.log.format,
            settings.log.level,
            hide=[*config.secrets(settings), *config.secrets(old.settings)],
        )
        self._current.use(settings, new.services)
        self._process.changes.restart()
        await old.stop_polling(settings)
        self._newest = new
        ending = asyncio.create_task(
            old.end(old.longest_attempt + MARGIN, LONGEST_WINDOW), name="end of the old configuration"
        )
        self._ending[ending] = old
        ending.add_done_callback(self._ended)
        new.start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Forget a generation, and free at once what it held: its parts refer to each other."""
        del self._ending[task]
        gc.collect()

    async def end(self) -> None:
        """End all generations; running attempts and actions may finish."""
        older = dict(self._ending)
        await asyncio.gather(*(each.stop_jobs() for each in older.values()))
        ends = [self._newest.end(GRACE), *([asyncio.wait(older, timeout=GRACE.total_seconds())] if older else [])]
        await asyncio.gather(*ends)
        for task, generation in older.items():
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
                await generation.leave()

    async def _next(self, settings: Settings, *, is_first: bool = True) -> Generation:
        """Return a generation that is registered and does not work yet."""
        me = maintenance.Self(identity.name(), socket.gethostname(), daemon.__version__, fingerprint(settings))
        generation = Generation(settings, me, self._process)
        generation.services = replace(generation.services, reloads=self._reloader)
        await self._process.database.write(_enter, self._process.database, settings, me, is_first=is_first)
        return generation


def _registry(database: Database) -> CollectorRegistry:
    """Return the registry of what this process counts."""
    metrics = CollectorRegistry()
    failing = Gauge("pagerelay_database_failing", "1 while this daemon cannot use its database", registry=metrics)
    failing.set_function(lambda: database.failure is not None)
    if database.is_sqlite:
        size = Gauge("pagerelay_database_disk_size_bytes", "Size of the SQLite file's disk", registry=metrics)
        size.set_function(lambda: database.disk()[0])
        free = Gauge("pagerelay_database_disk_free_bytes", "Free space on the SQLite file's disk", registry=metrics)
        free.set_function(lambda: database.disk()[1])
    return metrics


def _open(settings: Settings, upgrade: SchemaUpgrade) -> Database:
    """Open the database, lock it and upgrade its schema."""
    database = Database(settings.database.url.get_secret_value(), writes=True)
    if database.is_sqlite and (weakness := sqlite.warning()):
        log.warning("database.weak_sqlite", warning=weakness)
    try:
        database.lock()
        upgrade.run(database)
    except BaseException:
        database.close()
        raise
    return database


def _enter(tx: sa.Connection, database: Database, settings: Settings, me: maintenance.Self, *, is_first: bool) -> None:
    """Register this daemon and everything that its configuration names.

    When the process starts, the claims of a killed daemon are released at once if it has certainly ended: either it ran
    on this machine, or the database is SQLite, which allows only one daemon.
    """
    now = database.now(tx)
    instances.register(tx, me.instance, me.hostname, me.version, now, me.config_hash)
    connections.ensure(tx, settings.connections, settings.triggers.values(), now)
    targets.ensure(tx, settings.targets)
    if not is_first:
        return
    ended = (lambda each: each != me.instance) if database.is_sqlite else identity.has_ended
    dead = [*instances.reap(tx, now, ended), *claims.unknown_claimants(tx)]
    targets.free_probes(tx, dead, now)
    claims.release(tx, dead)
    action_queue.release(tx, dead)


def _log_orphaned(tx: sa.Connection, settings: Settings) -> None:
    """Log orphaned work: deliveries and actions whose target or connection is not configured."""
    for name, count in messages.count_orphaned(tx, settings.targets).items():
        log.warning(
            "target.unknown", target=name, pending=count, remedy="its deliveries wait until it is configured again"
        )
    for name, count in action_queue.count_orphaned(tx, settings.connections).items():
        log.warning(
            "connection.unknown", connection=name, queued=count, remedy="its actions wait until it is configured again"
        )
