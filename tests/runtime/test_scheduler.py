"""The scheduler: due jobs run, no job runs twice at once, and a busy process logs nothing about it."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from daemon import errors
from daemon.runtime import scheduler
from daemon.runtime.scheduler import Job, Scheduler
from tests.harness.eventually import eventually

if TYPE_CHECKING:
    import pytest

TICK = timedelta(milliseconds=10)
AGAIN = timedelta(0)


async def test_a_tick_missed_by_a_busy_process_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    beats: list[float] = []

    def busy_and_beaten() -> bool:
        free_at = time.monotonic() + 3 * TICK.total_seconds()
        while time.monotonic() < free_at:
            pass
        return len(beats) >= 10

    ticking = Scheduler([], TICK, lambda: beats.append(time.monotonic()))
    with caplog.at_level(logging.WARNING):
        ticking.start()
        async with asyncio.timeout(20):
            while not busy_and_beaten():
                await asyncio.sleep(0)
        await ticking.stop()
    assert not caplog.records


async def test_a_job_runs_repeatedly_and_never_twice_at_once() -> None:
    beats = running = most = ended = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    async def run() -> timedelta:
        nonlocal running, most, ended
        running += 1
        most = max(most, running)
        began = beats
        await eventually(lambda: beats > began + 3)
        running -= 1
        ended += 1
        return AGAIN

    ticking = Scheduler([Job("job", run)], TICK, beat)
    ticking.start()
    await eventually(lambda: ended == 5)
    await ticking.stop()
    assert most == 1


async def test_a_failing_job_is_restarted_and_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "AFTER_FAILURE", AGAIN)
    tries = 0

    async def run() -> timedelta:
        nonlocal tries
        tries += 1
        if tries <= 3:
            message = "the disk is full"
            raise errors.DatabaseError(message)
        return timedelta(hours=1)

    ticking = Scheduler([Job("job", run)], TICK)
    with capture_logs() as lines:
        ticking.start()
        await eventually(lambda: any(line["event"] == "job.recovered" for line in lines))
        await ticking.stop()
    assert [line["event"] for line in lines] == ["job.failing", "job.recovered"]
    assert lines[0]["error"] == "the disk is full"


async def test_what_reads_a_connection_may_go_on_after_the_end_and_the_rest_is_cancelled() -> None:
    gate = asyncio.Event()
    ended: dict[str, str] = {}

    def waiting(name: str, connection: str | None) -> Job:
        async def run() -> timedelta:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                ended[name] = "cancelled"
                raise
            ended[name] = "finished"
            return AGAIN

        return Job(name, run, connection)

    jobs = [waiting("chore", None), waiting("poll old", "old"), waiting("poll new", "new")]
    ticking = Scheduler(jobs, TICK)
    ticking.start()
    await eventually(lambda: all(job.task for job in jobs))
    assert ticking.busy() == {"old", "new"}
    await ticking.stop(TICK, go_on=["new"])
    assert ended == {"chore": "cancelled", "poll old": "cancelled"}
    assert ticking.busy() == {"new"}
    gate.set()
    await ticking.stop(timedelta(seconds=20))
    assert ended["poll new"] == "finished"
    assert ticking.busy() == set()
