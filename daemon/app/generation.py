"""Everything that the configuration decides: polls, deliveries, actions and chores. A reload replaces it as a whole.

Each generation claims work with an instance id of its own. So an old one may finish what it has begun while the new
one already works: for each other they are like two replicas, which take nothing from each other and keep every order.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from daemon import api, errors, maintenance, pagerduty
from daemon.actions.executor import Executor
from daemon.app.exports import Exports
from daemon.config import hints
from daemon.delivery.loop import DeliveryLoop
from daemon.ingest.pace import Pace
from daemon.ingest.poller import Poller
from daemon.ingest.reconcile import Reconcile
from daemon.ingest.sweep import Sweep
from daemon.pagerduty.permits import Permits
from daemon.runtime import systemd
from daemon.runtime.presence import Presence
from daemon.runtime.scheduler import Job, Scheduler
from daemon.storage import action_queue, claims, instances
from daemon.storage.database import system_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import sqlalchemy as sa
    from prometheus_client import CollectorRegistry

    from daemon.control import Waiting
    from daemon.control.changes import Changes
    from daemon.runtime.tracing import Tracing
    from daemon.settings import Connection, Settings
    from daemon.storage.database import Database

log = structlog.get_logger()

LONGEST_TICK = timedelta(seconds=1)
TICKS_PER_INTERVAL = 4
PATIENCE = timedelta(seconds=5)  # of a reload, for what reads PagerDuty


@dataclass(frozen=True, slots=True)
class Process:
    """The parts that outlive a reload: database, counters, waiting requests, open pages, traces, paces."""

    database: Database
    metrics: CollectorRegistry
    waiting: Waiting
    changes: Changes
    traces: Exports = field(default_factory=Exports)
    paces: dict[str, Pace] = field(default_factory=dict)

    def pace(self, connection: Connection) -> Pace:
        """Return the pace at which a connection's log is read."""
        kept = self.paces.get(connection.name)
        if kept is None or kept.longest_overlap != connection.overlap:
            kept = self.paces[connection.name] = Pace(connection.overlap)
        return kept


@dataclass
class Generation:
    """The running parts of one configuration, registered as ``me``."""

    settings: Settings
    me: maintenance.Self
    process: Process
    deliveries: DeliveryLoop = field(init=False)
    services: api.Services = field(init=False)
    _executors: dict[str, Executor] = field(default_factory=dict)
    _clients: dict[str, pagerduty.Client] = field(default_factory=dict)
    _pollers: list[Poller] = field(default_factory=list)
    _working: list[asyncio.Task[None]] = field(default_factory=list)
    _heartbeat: maintenance.Heartbeat = field(init=False)
    _scheduler: Scheduler = field(init=False)
    _tracing: Tracing | None = field(init=False)

    def __post_init__(self) -> None:
        """Build every part; nothing runs yet."""
        database, instance = self.process.database, self.me.instance
        presence = Presence(None if database.is_sqlite else instances.INSTANCE_TTL)
        metrics = self.process.metrics
        self._tracing = self.process.traces.of(self.settings.traces)
        self.deliveries = DeliveryLoop(
            database,
            self.settings.targets,
            instance,
            registry=metrics,
            presence=presence,
            tracing=self._tracing,
        )
        replaying = maintenance.Replaying(database, self.deliveries.wake, self.deliveries.release_replays)
        self.services = api.Services(
            self._clients,
            lambda name: self._executors[name].wake(),
            waiting=self.process.waiting,
            wake_targets=self.deliveries.wake,
            wake_replays=replaying.wake,
            changes=self.process.changes,
            hints=hints.of(self.settings),
        )
        self._heartbeat = maintenance.Heartbeat(
            database, self.me, presence, stop_work=self._stop_work, resume_work=self._resume_work
        )
        jobs = [Job("heartbeat", self._heartbeat.run), Job("replays", replaying.run), *self._house_keeping()]
        for name, connection in self.settings.connections.items():
            permits = Permits(database, name, connection.limits, instance, registry=metrics, presence=presence)
            self._clients[name] = client = pagerduty.Client(connection, permits)
            jobs += self._of_connection(client, connection)
            self._executors[name] = Executor(
                database,
                client,
                name,
                instance,
                wake_targets=self.deliveries.wake,
                on_progress=self.process.waiting.notify,
                registry=metrics,
                presence=presence,
            )
        watchdog = systemd.Watchdog(lambda: stuck(database, self.deliveries, self._working))
        self._scheduler = Scheduler(jobs, _tick(self.settings), watchdog.beat)

    def start(self) -> None:
        """Start working."""
        self._working = [asyncio.create_task(self.deliveries.run(), name="deliveries")]
        for name, executor in self._executors.items():
            self._working.append(asyncio.create_task(executor.run(), name=f"actions {name}"))
        self._scheduler.start()

    async def stop_polling(self, successor: Settings) -> None:
        """Stop polls and chores, so that the successor's may begin. Deliveries and actions go on.

        A poll ends with the window that it is reading, and passes on what it has read. A window that takes longer than
        ``PATIENCE`` is read to its end in the background, so that frequent reloads cannot keep a poll from getting
        anywhere; the successor passes that on. If the connection itself has changed or is gone, reading is cancelled.
        """
        for poller in self._pollers:
            poller.end_early()
        stays = [name for name, each in self.settings.connections.items() if successor.connections.get(name) == each]
        await self._scheduler.stop(PATIENCE, go_on=stays)
        await asyncio.gather(*(poller.replace() for poller in self._pollers))
        with contextlib.suppress(errors.DatabaseError):  # leaving the database releases them later
            await self.process.database.write(instances.release_polls, self.me.instance, self._scheduler.busy())

    async def stop_jobs(self) -> None:
        """Cancel what still reads PagerDuty."""
        await self._scheduler.stop()

    async def end(self, grace: timedelta, longest_window: timedelta = timedelta(0)) -> None:
        """Let attempts and actions finish within ``grace``, release the rest, and leave the database.

        What still reads PagerDuty is cancelled after ``longest_window``.
        """
        beating = asyncio.create_task(self._keep_beating(), name="heartbeat of the old configuration")
        executors = self._executors.values()
        work = [self.deliveries.stop(grace), *(each.stop(grace) for each in executors)]
        await asyncio.gather(self._scheduler.stop(longest_window), *work)
        await asyncio.gather(*self._working, return_exceptions=True)
        beating.cancel()
        await asyncio.wait([beating])
        for client in self._clients.values():
            await client.close()
        await self.leave()

    async def leave(self) -> None:
        """Leave the database: remove the daemon's row and release every claim."""
        try:
            await self.process.database.write(self._deregister)
        except errors.DatabaseError as error:  # other daemons reap it later
            log.warning("daemon.deregistration_failed", error=str(error))

    @property
    def longest_attempt(self) -> timedelta:
        """Return how long an attempt may take that has begun."""
        return max((target.timeout for target in self.settings.targets.values()), default=timedelta(0))

    # --- jobs

    def _house_keeping(self) -> list[Job]:
        """Return the jobs of the whole daemon that only look after the database."""
        database, settings = self.process.database, self.settings
        periods = settings.database.retention
        retention = maintenance.Retention(database, periods, settings.connections, settings.triggers)
        clock = maintenance.SetBack(database, self.me.instance, self.deliveries.resume)
        jobs = [Job("retention", retention.run), Job("clock", clock.run)]
        if settings.api is not None and settings.api.page:
            jobs.append(Job("history", maintenance.History(database).run))
        if settings.alerts_to:
            to, after = settings.alerts_to, settings.alerts_after
            wake = self.deliveries.wake
            chore = maintenance.Alerting(database, settings.targets, settings.connections, to, after, wake)
            jobs.append(Job("alerts", chore.run))
        return jobs

    def _of_connection(self, client: pagerduty.Client, connection: Connection) -> list[Job]:
        """Return the jobs of one connection."""
        database = self.process.database
        pace = self.process.pace(connection)
        poller = Poller(
            database,
            client,
            connection,
            self.settings.triggers.values(),
            self.settings.targets,
            instance=self.me.instance,
            clock=system_clock,
            wake=self.deliveries.wake,
            pace=pace,
            tracing=self._tracing,
        )
        self._pollers.append(poller)
        sweep = Sweep(database, client, connection, system_clock, pace=pace, tracing=self._tracing)
        reconcile = Reconcile(database, client, connection, system_clock, tracing=self._tracing)
        return [
            Job(f"poll {connection.name}", poller.run, connection.name),
            Job(f"sweep {connection.name}", sweep.run, connection.name),
            Job(f"reconcile {connection.name}", reconcile.run, connection.name),
        ]

    # --- the daemon's row

    async def _stop_work(self) -> None:
        """Stop what other daemons have taken over."""
        await asyncio.gather(self.deliveries.abandon(), *(each.abandon() for each in self._executors.values()))

    def _resume_work(self) -> None:
        """Look for what other daemons have left."""
        self.deliveries.resume()
        for executor in self._executors.values():
            executor.wake()

    async def _keep_beating(self) -> None:
        """Keep the row fresh while the last attempts run."""
        while True:
            await self._try_heartbeat()
            await asyncio.sleep(maintenance.HEARTBEAT_EVERY.total_seconds())

    async def _try_heartbeat(self) -> None:
        try:
            await self._heartbeat.run()
        except errors.DatabaseError as error:
            log.debug("heartbeat.failed", error=str(error))

    def _deregister(self, tx: sa.Connection) -> None:
        """Remove the daemon's row and release the claims that its parts could not release."""
        instances.leave(tx, self.me.instance)
        claims.release(tx, [self.me.instance])
        action_queue.release(tx, [self.me.instance])


def stuck(database: Database, deliveries: DeliveryLoop, working: Iterable[asyncio.Task[None]]) -> str | None:
    """Return a problem that a restart of the daemon may fix, or None."""
    if database.failure is not None and database.is_stuck(time.monotonic()):
        return f"{database.failure.error} (for more than five minutes)"
    if ended := [task.get_name() for task in working if task.done()]:
        return f"the work on {', '.join(ended)} has ended"
    return "the delivery loop is stuck" if deliveries.is_stuck() else None


def _tick(settings: Settings) -> timedelta:
    """Return the scheduler's tick: a fraction of the shortest poll interval, one second at most."""
    intervals: Sequence[timedelta] = [each.limits.poll_interval for each in settings.connections.values()]
    return min([LONGEST_TICK, *(interval / TICKS_PER_INTERVAL for interval in intervals)])
