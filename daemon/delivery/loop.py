"""The delivery loop: claim, send, record. Each target has a worker, so that none delays another.

A worker's lane buffers a bounded number of claimed deliveries. The claims of all targets are made together, and
results are recorded in groups, in one transaction each: disks are slow at transactions, not requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from daemon import formats
from daemon.delivery import acceptance
from daemon.delivery.attempt_metrics import attempt_metrics
from daemon.delivery.contents import Contents
from daemon.delivery.recorder import Recorder
from daemon.delivery.worker import Shared, TargetWorker
from daemon.outbound.sender import Sender
from daemon.runtime.guard import Guard
from daemon.runtime.presence import UNCONTESTED
from daemon.storage import claims
from daemon.storage.database import system_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.delivery.recorder import Recorded
    from daemon.outbound.sender import Rejects, Sign
    from daemon.runtime.presence import Presence
    from daemon.runtime.tracing import Tracing
    from daemon.settings import Target
    from daemon.storage.claims import TargetClaim
    from daemon.storage.database import Clock, Database
    from daemon.storage.due import ClaimRequest

log = structlog.get_logger()

LOOK_SECONDS = 5.0
STUCK_SECONDS = 300.0  # far longer than the database keeps anybody waiting
AFTER_FAILURE_SECONDS = 1.0


class DeliveryLoop:
    """Sends all deliveries of this process to ``targets``. ``instance`` is the name that it claims with."""

    def __init__(
        self,
        database: Database,
        targets: Mapping[str, Target],
        instance: str,
        *,
        clock: Clock = system_clock,
        jitter: Callable[[], float] = random.random,
        registry: CollectorRegistry | None = None,
        senders: Callable[[Target, Sign, Rejects | None], Sender] = Sender,
        presence: Presence = UNCONTESTED,
        tracing: Tracing | None = None,
    ) -> None:
        self._database = database
        self._targets = targets
        self._instance = instance
        self._clock = clock
        self._senders = senders
        self._workers: dict[str, TargetWorker] = {}
        self._contents = Contents(database, traced=tracing is not None)
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._unlocked = asyncio.Event()  # while no targets are being changed: PostgreSQL's claims pass over those
        self._unlocked.set()
        self._ahead = timedelta(0)  # how far the database's clock is ahead of ours
        self._recorder = Recorder(database, instance, self._now)
        self._recording: asyncio.Task[None] | None = None
        self._finished: set[int] = set()
        self._recorded: list[int] = []  # of them, those that were recorded since the present claim began
        self._turned_at = time.monotonic()
        metrics = attempt_metrics(registry or CollectorRegistry())
        self._presence = presence
        self._shared = Shared(
            self._recorder,
            metrics,
            self._now,
            clock,
            jitter,
            self._woken.set,
            self._stopping,
            presence,
            self._finished,
            tracing,
        )

    async def run(self) -> None:
        """Deliver until ``stop`` is called."""
        for name, target in self._targets.items():
            sender = self._senders(target, formats.signing(target), acceptance.rejects(target))
            self._workers[name] = TargetWorker(target, sender, self._shared)
        self._recording = asyncio.create_task(self._record(), name="delivery-recorder")
        claiming = Guard("deliveries", work="claim")
        while not self._stopping.is_set():
            self._woken.clear()
            self._turned_at = time.monotonic()
            with claiming.attempt():
                await self._claim_all()
            if claiming.failing is not None:
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            await self._sleep()

    def is_stuck(self) -> bool:
        """Return whether the loop has stood still for minutes, or nothing is recorded any more."""
        has_ended = self._recording is not None and self._recording.done()
        return has_ended or time.monotonic() - self._turned_at > STUCK_SECONDS

    def wake(self, names: Iterable[str]) -> None:
        """Look for deliveries of these targets at once."""
        for name in names:
            if name in self._workers:
                self._workers[name].lane.look_again(0.0)
        self._woken.set()

    def release_replays(self) -> None:
        """Release all replayed deliveries that are not in flight: a replay was cancelled."""
        for worker in self._workers.values():
            worker.release_replays()

    def resume(self) -> None:
        """Look at once for deliveries of every target: another daemon has left its own."""
        self.wake(self._workers)

    async def abandon(self) -> None:
        """Release everything that is not in flight: other daemons have taken it over."""
        async with self._claiming:
            for worker in self._workers.values():
                worker.drain()

    async def stop(self, grace: timedelta) -> None:
        """Claim no more, let running attempts finish within ``grace``, and release everything else."""
        self._stopping.set()
        self._woken.set()
        workers = self._workers.values()
        async with self._claiming:  # a claim in progress has to be released as well
            for worker in workers:
                worker.drain()
        await asyncio.gather(*(worker.stop(grace) for worker in workers))
        self._recorder.close()
        if self._recording is not None:
            await self._recording
        for worker in workers:
            await worker.close()

    def _now(self) -> datetime:
        """Return the database's time, by which replicas agree on when a delivery is due."""
        return self._clock() + self._ahead

    # --- claiming

    async def _sleep(self) -> None:
        """Wait for work, for room, or for the next due delivery; always let other tasks run first."""
        await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        dues = (due for worker in self._workers.values() if (due := worker.due(now)) is not None)
        at = min(dues, default=now + LOOK_SECONDS)
        if at > now and not self._stopping.is_set():
            try:
                async with asyncio.timeout(min(at - now, LOOK_SECONDS)):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _claim_all(self) -> None:
        async with self._claiming:
            await self._wait_for_targets()
            self._presence.require()
            now = asyncio.get_running_loop().time()
            workers = [worker for worker in self._workers.values() if worker.wants_claim(now)]
            try:
                if workers and not self._stopping.is_set():
                    await self._claim_for(workers)
            finally:
                self._forget_recorded()

    async def _wait_for_targets(self) -> None:
        """Wait until no target is being changed; not for long, since that of one target must not delay the others."""
        if not self._unlocked.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(claims.BUSY.total_seconds()):
                    await self._unlocked.wait()

    async def _claim_for(self, workers: Sequence[TargetWorker]) -> None:
        began = asyncio.get_running_loop().time()
        for worker in workers:
            worker.lane.claiming(began + LOOK_SECONDS)
        requests = {worker.target.name: worker.lane.request() for worker in workers}
        versions = {worker.target.name: worker.circuit.version for worker in workers}
        now, self._ahead, claimed = await self._database.write(self._claim, requests)
        contents = None
        try:
            contents = await self._contents.load([(worker.target, claimed[worker.target.name]) for worker in workers])
        finally:
            if contents is None:
                ids = [each.id for claim in claimed.values() for run in claim.runs for each in run.deliveries]
                self._recorder.give_back(ids, None)
        for worker in workers:
            name, lane = worker.target.name, worker.lane
            claim = claimed[name]
            for buffer, due in ((lane.live, claim.next_due), (lane.replayed, claim.next_replayed)):
                if due is not None:
                    buffer.look_again(began + max((due - now).total_seconds(), 0.0))
            worker.take(claim, contents[name], versions[name])

    def _claim(
        self, tx: sa.Connection, requests: Mapping[str, ClaimRequest]
    ) -> tuple[datetime, timedelta, dict[str, TargetClaim]]:
        now = self._database.now(tx)
        ahead = now - self._clock()  # at once: the duration of the claim would count as a difference of the clocks
        return now, ahead, claims.claim(tx, requests, self._instance, now)

    # --- recording

    async def _record(self) -> None:
        """Record in groups until the recorder is closed, and then once more."""
        recording = Guard("deliveries", work="record")
        while not self._recorder.is_closing:
            await self._recorder.wait()
            with recording.attempt():
                await self._record_once()
            if recording.failing is not None:
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
                self._recorder.wake()
        with recording.attempt():
            await self._record_once()

    async def _record_once(self) -> None:
        closing, at = self._recorder.is_closing, time.monotonic()
        changes = {
            name: change
            for name, worker in self._workers.items()
            if (change := worker.circuit.begin_saving(at, closing=closing)) is not None
        }
        recorded = None
        try:
            if changes:
                self._unlocked.clear()
            recorded = await self._recorder.record(changes)
        finally:
            self._unlocked.set()
            for name, change in changes.items():
                circuit = self._workers[name].circuit
                if recorded is None:
                    circuit.failed_to_save(change)
                else:
                    circuit.saved(change, time.monotonic(), overtaken=name in recorded.overtaken)
        self._follow(recorded)

    def _follow(self, recorded: Recorded) -> None:
        """Look for deliveries that the records make due, and pause targets that other daemons have paused."""
        records = recorded.records
        self._recorded += [result.delivery.id for result in records.results]
        if not self._claiming.locked():
            self._forget_recorded()
        self.wake(name for name, change in records.changes.items() if change.is_urgent)
        for result in records.results:
            if result.next_attempt_at is not None:
                self._look_again(self._workers[result.delivery.target], result.next_attempt_at)
        for until in records.given_back:
            if until is not None:
                for worker in self._workers.values():
                    self._look_again(worker, until)
        for name in recorded.paused & self._workers.keys():
            self._workers[name].pause()

    def _forget_recorded(self) -> None:
        self._finished.difference_update(self._recorded)
        self._recorded.clear()

    def _look_again(self, worker: TargetWorker, at: datetime) -> None:
        due = asyncio.get_running_loop().time() + (at - self._now()).total_seconds()
        if worker.lane.look_again(due):
            self._woken.set()
