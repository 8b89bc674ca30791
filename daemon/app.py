"""The composition root: it builds every part from the settings, starts the parts in order and ends them in order.

Only this module knows how the parts fit together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Gauge

import daemon
from daemon import api, errors, maintenance, pagerduty
from daemon.actions.executor import Executor
from daemon.config import hints
from daemon.delivery.loop import DeliveryLoop
from daemon.ingest.poller import Poller
from daemon.ingest.reconcile import Reconcile
from daemon.ingest.sweep import Sweep
from daemon.pagerduty.permits import Permits
from daemon.runtime import descriptors, identity, systemd
from daemon.runtime.presence import Presence
from daemon.runtime.scheduler import Job, Scheduler
from daemon.settings import fingerprint
from daemon.storage import action_queue, claims, connections, instances, messages, sqlite, targets
from daemon.storage.database import Database, system_clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    import sqlalchemy as sa

    from daemon.settings import Connection, Settings

log = structlog.get_logger()

LONGEST_TICK = timedelta(seconds=1)
TICKS_PER_INTERVAL = 4
HASH_DIGITS = 12  # of the configuration's hash, which a floating-point number holds exactly
GRACE = timedelta(seconds=8)
LONGEST_END = timedelta(seconds=9.5)


async def run(
    settings: Settings, *, ready: Callable[[str | None], None] | None = None, stop: asyncio.Event | None = None
) -> None:
    """Run the daemon until SIGTERM or SIGINT, or until ``stop`` is set (then signals are left alone).

    ``ready`` is called once everything runs, with the API's address (None without API).
    Raises DatabaseError (also SchemaTooNew, DatabaseInUse) if the database cannot be used.
    """
    started = time.perf_counter()
    descriptors.raise_limit()
    for hint in hints.of(settings):
        log.warning("configuration.suspicious", hint=hint)
    async with _until(stop) as stopping, _running(settings) as address:
        log.info(
            "daemon.started", version=daemon.__version__, api=address, took=f"{time.perf_counter() - started:.3f}s"
        )
        systemd.notify("READY=1")
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
async def _running(settings: Settings) -> AsyncIterator[str | None]:
    """Start every part of the daemon, and end them in the opposite order; yield the API's address."""
    me = maintenance.Self(identity.name(), socket.gethostname(), daemon.__version__, fingerprint(settings))
    instance = me.instance
    async with contextlib.AsyncExitStack() as parts:
        bound = api.bind(settings)
        if bound is not None:
            parts.callback(bound.close)
        database = await parts.enter_async_context(_entered(settings, me))
        presence = Presence(None if database.is_sqlite else instances.INSTANCE_TTL)
        metrics = _registry(database, me)
        deliveries = DeliveryLoop(database, settings.targets, instance, registry=metrics, presence=presence)
        replaying = maintenance.Replaying(database, deliveries.wake, deliveries.release_replays)
        executors: dict[str, Executor] = {}
        clients: dict[str, pagerduty.Client] = {}
        wake = lambda name: executors[name].wake()  # noqa: E731 - the executors come later
        services = _services(settings, clients, wake, deliveries, replaying)
        heartbeat = _heartbeat(database, me, presence, deliveries, executors)
        jobs = [Job("heartbeat", heartbeat.run), Job("replays", replaying.run)]
        jobs += _house_keeping(database, settings, instance, deliveries)
        for name, connection in settings.connections.items():
            permits = Permits(database, name, connection.limits, instance, registry=metrics, presence=presence)
            clients[name] = client = pagerduty.Client(connection, permits)
            parts.push_async_callback(client.close)
            jobs += _of_connection(database, settings, client, connection, instance, deliveries)
            executors[name] = Executor(
                database,
                client,
                name,
                instance,
                wake_targets=deliveries.wake,
                on_progress=services.waiting.notify,
                registry=metrics,
                presence=presence,
            )
        working = [asyncio.create_task(deliveries.run(), name="deliveries")]
        working += [asyncio.create_task(each.run(), name=f"actions {name}") for name, each in executors.items()]
        parts.push_async_callback(_end_work, deliveries, executors.values(), working)

        scheduler = Scheduler(jobs, _tick(settings), lambda: _beat(database))
        scheduler.start()
        parts.push_async_callback(scheduler.stop)
        yield await parts.enter_async_context(api.serving(database, settings, services, metrics, bound))


def _services(
    settings: Settings,
    clients: Mapping[str, pagerduty.Client],
    wake: Callable[[str], None],
    deliveries: DeliveryLoop,
    replaying: maintenance.Replaying,
) -> api.Services:
    """Return what the API and the page use of this process."""
    return api.Services(
        clients, wake, wake_targets=deliveries.wake, wake_replays=replaying.wake, hints=hints.of(settings)
    )


@contextlib.asynccontextmanager
async def _entered(settings: Settings, me: maintenance.Self) -> AsyncIterator[Database]:
    """The database, open, with this daemon in it."""
    database = await asyncio.to_thread(_open, settings)
    try:
        await database.write(_enter, database, settings, me)
        try:
            await database.read(_log_orphaned, settings)
            yield database
        finally:
            await _leave(database, me.instance)
    finally:
        database.close()


def _registry(database: Database, me: maintenance.Self) -> CollectorRegistry:
    """Return the registry of what this process counts."""
    metrics = CollectorRegistry()
    failing = Gauge("pagerelay_database_failing", "1 while this daemon cannot use its database", registry=metrics)
    failing.set_function(lambda: database.failure is not None)
    config_hash = Gauge("pagerelay_config_hash", "Differs between daemons with other configurations", registry=metrics)
    config_hash.set(int(me.config_hash[:HASH_DIGITS], 16))
    if database.is_sqlite:
        size = Gauge("pagerelay_database_disk_size_bytes", "Size of the SQLite file's disk", registry=metrics)
        size.set_function(lambda: database.disk()[0])
        free = Gauge("pagerelay_database_disk_free_bytes", "Free space on the SQLite file's disk", registry=metrics)
        free.set_function(lambda: database.disk()[1])
    return metrics


def _heartbeat(
    database: Database,
    me: maintenance.Self,
    presence: Presence,
    deliveries: DeliveryLoop,
    executors: Mapping[str, Executor],
) -> maintenance.Heartbeat:
    async def stop_work() -> None:
        await asyncio.gather(deliveries.abandon(), *(each.abandon() for each in executors.values()))

    def resume_work() -> None:
        deliveries.resume()
        for executor in executors.values():
            executor.wake()

    return maintenance.Heartbeat(database, me, presence, stop_work=stop_work, resume_work=resume_work)


def _house_keeping(database: Database, settings: Settings, instance: str, deliveries: DeliveryLoop) -> list[Job]:
    """Return the jobs of the whole daemon that only look after the database."""
    periods = settings.database.retention
    retention = maintenance.Retention(database, periods, settings.connections, settings.triggers)
    jobs = [
        Job("retention", retention.run),
        Job("clock", maintenance.SetBack(database, instance, deliveries.resume).run),
    ]
    if settings.api is not None and settings.api.page:
        jobs.append(Job("history", maintenance.History(database).run))
    if settings.alerts_to:
        to, after = settings.alerts_to, settings.alerts_after
        chore = maintenance.Alerting(database, settings.targets, settings.connections, to, after, deliveries.wake)
        jobs.append(Job("alerts", chore.run))
    return jobs


def _of_connection(
    database: Database,
    settings: Settings,
    client: pagerduty.Client,
    connection: Connection,
    instance: str,
    deliveries: DeliveryLoop,
) -> list[Job]:
    """Return the jobs of one connection."""
    poller = Poller(
        database,
        client,
        connection,
        settings.triggers.values(),
        settings.targets,
        instance=instance,
        clock=system_clock,
        wake=deliveries.wake,
    )
    sweep = Sweep(database, client, connection, system_clock)
    reconcile = Reconcile(database, client, connection, system_clock)
    return [
        Job(f"poll {connection.name}", poller.run),
        Job(f"sweep {connection.name}", sweep.run),
        Job(f"reconcile {connection.name}", reconcile.run),
    ]


def _open(settings: Settings) -> Database:
    """Open the database, lock it and upgrade its schema."""
    database = Database(settings.database.url.get_secret_value(), writes=True)
    if database.is_sqlite and (weakness := sqlite.warning()):
        log.warning("database.weak_sqlite", warning=weakness)
    try:
        database.lock()
        database.upgrade()
    except BaseException:
        database.close()
        raise
    return database


def _enter(tx: sa.Connection, database: Database, settings: Settings, me: maintenance.Self) -> None:
    """Register this daemon and everything that its configuration names.

    The claims of a killed daemon are released at once if it has certainly ended: either it ran on this machine, or the
    database is SQLite, which allows only one daemon.
    """
    now = database.now(tx)
    ended = (lambda each: each != me.instance) if database.is_sqlite else identity.has_ended
    instances.register(tx, me.instance, me.hostname, me.version, now, me.config_hash)
    connections.ensure(tx, settings.connections, settings.triggers.values(), now)
    targets.ensure(tx, settings.targets)
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


async def _leave(database: Database, instance: str) -> None:
    """Deregister this daemon. If the database is unavailable, other daemons reap it later."""
    try:
        await database.write(_deregister, instance)
    except errors.DatabaseError as error:
        log.warning("daemon.leaving_failed", error=str(error))


def _deregister(tx: sa.Connection, instance: str) -> None:
    """Remove the daemon's row and release the claims that its parts could not release."""
    instances.leave(tx, instance)
    claims.release(tx, [instance])
    action_queue.release(tx, [instance])


async def _end_work(
    deliveries: DeliveryLoop, executors: Collection[Executor], working: Sequence[asyncio.Task[None]]
) -> None:
    """Let running attempts and actions finish; those that do not finish in time are released."""
    await asyncio.gather(deliveries.stop(GRACE), *(each.stop(GRACE) for each in executors))
    await asyncio.gather(*working, return_exceptions=True)


def _beat(database: Database) -> None:
    """Notify systemd's watchdog, unless the database has been failing for long."""
    if not database.is_stuck(time.monotonic()):
        systemd.notify("WATCHDOG=1")


def _tick(settings: Settings) -> timedelta:
    """Return the scheduler's tick: a fraction of the shortest poll interval, one second at most."""
    intervals = [connection.limits.poll_interval for connection in settings.connections.values()]
    return min([LONGEST_TICK, *(interval / TICKS_PER_INTERVAL for interval in intervals)])
