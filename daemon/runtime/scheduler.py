"""The jobs of this process: an APScheduler tick starts those that are due.

The database row decides whether a trigger may really run. Times here are monotonic, so that setting the clock
delays nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from daemon.runtime.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

LATE_TICKS = 3
AFTER_FAILURE = timedelta(seconds=5)


@dataclass
class Job:
    """A function that runs repeatedly, never twice at once.

    ``run`` returns how long to wait before the next run. ``connection``: whose PagerDuty account it reads, if it does.
    """

    name: str
    run: Callable[[], Awaitable[timedelta]]
    connection: str | None = None
    due: float = 0.0
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Scheduler:
    """A scheduler that runs jobs until stopped. ``beat`` is called at every tick, as a sign of life."""

    def __init__(self, jobs: list[Job], tick: timedelta, beat: Callable[[], None] = lambda: None) -> None:
        self._jobs = jobs
        self._guards = {job.name: Guard("job", job=job.name) for job in jobs}
        self._tick = tick
        self._beat = beat
        # The debug executor ends a tick before it is counted, so a late tick is never reported as running twice.
        self._scheduler = AsyncIOScheduler(timezone=UTC, executors={"default": DebugExecutor()})
        self._last_tick = time.monotonic()
        self._guard: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start ticking, immediately."""
        self._scheduler.add_job(
            self._on_tick,
            "interval",
            id="tick",
            seconds=self._tick.total_seconds(),
            next_run_time=datetime.now(UTC),
            coalesce=True,
            misfire_grace_time=None,
            max_instances=1,
        )
        self._scheduler.start()
        self._guard = asyncio.create_task(self._watch_clock(), name="scheduler-guard")

    def stop_ticking(self) -> None:
        """Start no more jobs; running ones go on."""
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
            self._scheduler.shutdown(wait=False)

    async def stop(self, grace: timedelta = timedelta(0), go_on: Collection[str] = ()) -> None:
        """Stop ticking, and cancel jobs: those that read PagerDuty after ``grace``, others at once.

        Jobs of the connections ``go_on`` are not cancelled. The caller releases the claims of those that are.
        """
        self.stop_ticking()
        running = {job.task: job.connection for job in self._jobs if job.task is not None and not job.task.done()}
        reading = [task for task, connection in running.items() if connection is not None]
        try:
            if reading and grace:
                await asyncio.wait(reading, timeout=grace.total_seconds())
        finally:
            cancelled = [task for task, connection in running.items() if connection not in go_on]
            for task in cancelled:
                task.cancel()
            await asyncio.gather(*cancelled, return_exceptions=True)

    def busy(self) -> set[str]:
        """Return the connections that jobs are reading at this moment."""
        return {job.connection for job in self._jobs if job.connection and job.task and not job.task.done()}

    def _on_tick(self) -> None:
        self._last_tick = time.monotonic()
        self._beat()
        for job in self._jobs:
            idle = job.task is None or job.task.done()
            if idle and job.due <= self._last_tick:
                job.task = asyncio.create_task(self._run(job), name=job.name)

    async def _run(self, job: Job) -> None:
        wait = AFTER_FAILURE
        with self._guards[job.name].attempt():
            wait = await job.run()
        job.due = time.monotonic() + wait.total_seconds()

    async def _watch_clock(self) -> None:
        """Wake APScheduler after the wall clock was set back; it would sleep until that time comes again."""
        while True:
            await asyncio.sleep(self._tick.total_seconds())
            if time.monotonic() - self._last_tick > LATE_TICKS * self._tick.total_seconds():
                self._last_tick = time.monotonic()
                self._scheduler.modify_job("tick", next_run_time=datetime.now(UTC))
