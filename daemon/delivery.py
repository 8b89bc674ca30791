"""The delivery loop: claim, send, record. One lane per target, so that no target hinders another.

A lane holds a bounded number of claimed deliveries and sends them with the target's
concurrency. Claims of all lanes are made together, and results are written in groups, in
one transaction each: that, not the requests, is what disks are slow at.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from daemon import backoff, errors, queue
from daemon.database import system_clock
from daemon.formats import REGISTRY
from daemon.model import Content, Delivery, DeliveryState, Options, Order, RateLimit, Target
from daemon.sender import Answer, Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.database import Clock, Database
    from daemon.model import Message
    from daemon.sender import Sign

log = structlog.get_logger()

LANE_RESERVE = 128
CLAIM_SIZE = 128
CONTENTS_KEPT = 2000
GROUP_SECONDS = 0.02
GROUP_SIZE = 500
LOOK_SECONDS = 5.0
AFTER_FAILURE_SECONDS = 1.0
FAILURES_IN_A_ROW = 3
NOTE_SECONDS = 1.0
LATENCIES = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60)

Rendered: TypeAlias = "Content | errors.FormatError | str"  # what to send, or why that failed, or can never be
Item = tuple[Delivery, Rendered]
Rendering = tuple[str, Options, str]  # what becomes of a message: by format, its options, and the message
GONE = "the message is gone"


@dataclass
class Chain:
    """Deliveries that are sent one after the other. ``ids`` has those that were sent, too."""

    items: deque[Item]
    ids: set[int]


@dataclass
class Lane:
    """One target's deliveries in this process. ``held`` counts those that are claimed."""

    target: Target
    sender: Sender
    failing_since: datetime | None
    chains: deque[Chain] = field(default_factory=deque)
    lines: dict[str, Chain] = field(default_factory=dict)  # each incident's newest chain, while it lasts
    held: int = 0
    workers: set[asyncio.Task[None]] = field(default_factory=set)
    due: float = 0.0  # when to claim again, by the loop's clock
    failures: int = 0
    error: str | None = None
    success_at: datetime | None = None
    noted: float = 0.0
    changed: bool = False
    starts: deque[float] = field(default_factory=deque)

    def has_room(self) -> bool:
        """Whether it takes more: what it holds should last until the next claim."""
        return self.held <= LANE_RESERVE


class Deliveries:
    """Everything that is sent from this process, to all ``targets``. ``instance`` is what it claims as."""

    def __init__(
        self,
        database: Database,
        targets: Mapping[str, Target],
        instance: str,
        *,
        clock: Clock = system_clock,
        luck: Callable[[], float] = random.random,
        registry: CollectorRegistry | None = None,
        senders: Callable[[Target, Sign], Sender] = Sender,
    ) -> None:
        self._database = database
        self._targets = targets
        self._instance = instance
        self._clock = clock
        self._luck = luck
        self._senders = senders
        self._lanes: dict[str, Lane] = {}
        self._contents: OrderedDict[Rendering, Rendered] = OrderedDict()
        self._results: list[queue.Result] = []
        self._given_back: dict[datetime | None, list[int]] = {}
        self._woken = asyncio.Event()
        self._stopping = False
        self._closing = False
        self._claiming = asyncio.Lock()
        self._ahead = timedelta(0)  # how far the database's clock is ahead of ours
        self._recorder: asyncio.Task[None] | None = None
        self._to_record = asyncio.Event()
        registry = registry or CollectorRegistry()
        labels = ("target", "outcome")
        attempts = Counter("pagerelay_attempts", "Attempts to deliver", labels, registry=registry)
        latency = Histogram(
            "pagerelay_attempt_seconds", "Duration of attempts", ("target",), buckets=LATENCIES, registry=registry
        )
        self._attempts, self._latency = functools.cache(attempts.labels), functools.cache(latency.labels)

    async def run(self) -> None:
        """Deliver until ``stop`` is called."""
        failing = await self._database.read(queue.failing)
        for name, target in self._targets.items():
            sender = self._senders(target, functools.partial(REGISTRY[target.format].sign, name))
            self._lanes[name] = Lane(target, sender, failing.get(name))
        self._recorder = asyncio.create_task(self._record_forever(), name="delivery-recorder")
        while not self._stopping:
            self._woken.clear()
            try:
                async with self._claiming:
                    await self._claim_for(self._hungry())
            except errors.DatabaseError as error:
                log.error("delivery.failing", error=str(error))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            await self._sleep()

    def wake(self, names: Iterable[str]) -> None:
        """Say that targets have new deliveries."""
        for name in names:
            if name in self._lanes:
                self._lanes[name].due = 0.0
        self._woken.set()

    async def stop(self, grace: timedelta) -> None:
        """Claim no more, let running attempts finish for ``grace`` at most, give everything else back."""
        self._stopping = True
        self._woken.set()
        async with self._claiming:  # what is being claimed has to be given back as well
            for lane in self._lanes.values():
                for chain in lane.chains:
                    self._give_back(lane, chain.items, None)
                lane.chains.clear()
        workers = [worker for lane in self._lanes.values() for worker in lane.workers]
        if workers:
            _, unfinished = await asyncio.wait(workers, timeout=grace.total_seconds())
            for worker in unfinished:
                worker.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        if self._recorder is not None:
            self._closing = True
            self._to_record.set()
            await self._recorder
        await self._record()
        for lane in self._lanes.values():
            await lane.sender.close()

    # --- claiming

    def _hungry(self) -> list[Lane]:
        now = asyncio.get_running_loop().time()
        return [lane for lane in self._lanes.values() if lane.due <= now and lane.has_room()]

    async def _sleep(self) -> None:
        """Wait for work, for room, or for the next delivery that is due."""
        now = asyncio.get_running_loop().time()
        # A full lane that is due wakes us when it has room; one that is due later may have room by then.
        dues = (lane.due for lane in self._lanes.values() if lane.has_room() or lane.due > now)
        due = min(dues, default=now + LOOK_SECONDS)
        if due > now and not self._stopping:
            try:
                async with asyncio.timeout(min(due - now, LOOK_SECONDS)):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _claim_for(self, lanes: Sequence[Lane]) -> None:
        if not lanes or self._stopping:
            return
        asked = asyncio.get_running_loop().time()
        for lane in lanes:
            lane.due = asked + LOOK_SECONDS
        wanted = {lane.target.name: lane.target.order for lane in lanes}
        now, claims = await self._database.write(self._claim, wanted)
        self._ahead = now - self._clock()
        contents = await self._contents_of(lanes, claims)
        for lane in lanes:
            claim = claims[lane.target.name]
            if claim.next_due is not None:
                lane.due = min(lane.due, asked + max((claim.next_due - now).total_seconds(), 0.0))
            for chain in claim.chains:
                items = deque((each, contents.get(_rendering(lane, each), GONE)) for each in chain.deliveries)
                lane.held += len(items)
                self._line_up(lane, items, chain.after)
            self._start_workers(lane)

    def _line_up(self, lane: Lane, items: deque[Item], after: frozenset[int]) -> None:
        """Put deliveries into the lane: behind ``after`` if a chain still has all of these, else back for now."""
        incident, ids = items[0][0].incident_id, {delivery.id for delivery, _ in items}
        line = lane.lines.get(incident)
        if not after:
            chain = Chain(items, ids)
            lane.chains.append(chain)
            if lane.target.order is not Order.NONE:
                lane.lines[incident] = chain
        elif line is not None and after <= line.ids:
            line.items.extend(items)
            line.ids |= ids
        else:
            self._give_back(lane, items, self._now() + queue.BEHIND_RUNNING)

    def _claim(self, tx: sa.Connection, wanted: Mapping[str, Order]) -> tuple[datetime, dict[str, queue.Claim]]:
        now = self._database.now(tx)
        return now, queue.claim(tx, wanted, self._instance, CLAIM_SIZE, now)

    async def _contents_of(self, lanes: Sequence[Lane], claims: Mapping[str, queue.Claim]) -> dict[Rendering, Rendered]:
        """What is to be sent of what was claimed; each message is rendered once for all targets that want it alike."""
        wanted = {
            _rendering(lane, each)
            for lane in lanes
            for chain in claims[lane.target.name].chains
            for each in chain.deliveries
        }
        contents = {key: self._contents[key] for key in wanted & self._contents.keys()}
        missing = wanted - contents.keys()
        if missing:
            try:
                loaded = await self._database.read(queue.load, {message_id for _, _, message_id in missing})
            except errors.DatabaseError:
                ids = [each.id for claim in claims.values() for chain in claim.chains for each in chain.deliveries]
                self._given_back.setdefault(None, []).extend(ids)
                self._to_record.set()
                raise
            for name, options, message_id in missing:
                if message_id in loaded:
                    contents[name, options, message_id] = _rendered(name, options, loaded[message_id])
        self._contents.update(contents)
        while len(self._contents) > CONTENTS_KEPT:
            self._contents.popitem(last=False)
        return contents

    # --- sending

    def _start_workers(self, lane: Lane) -> None:
        for _ in range(min(lane.target.concurrency - len(lane.workers), len(lane.chains))):
            worker = asyncio.create_task(self._work(lane))
            lane.workers.add(worker)
            worker.add_done_callback(lambda ended: self._ended(lane, ended))

    def _ended(self, lane: Lane, worker: asyncio.Task[None]) -> None:
        lane.workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            log.error("delivery.broken", target=lane.target.name, exc_info=error)

    async def _work(self, lane: Lane) -> None:
        while lane.chains and not self._stopping:
            chain = lane.chains.popleft()
            await self._send_chain(lane, chain)
            if lane.has_room() and lane.due <= asyncio.get_running_loop().time():
                self._woken.set()

    async def _send_chain(self, lane: Lane, chain: Chain) -> None:
        """Send one incident's deliveries one after the other; the first that fails holds up the rest."""
        until: datetime | None = None
        items = chain.items
        incident = items[0][0].incident_id
        try:
            while items and not self._stopping and until is None:
                until = await self._attempt(lane, *items[0])
                items.popleft()
                lane.held -= 1
        finally:
            if lane.lines.get(incident) is chain:
                del lane.lines[incident]
            self._give_back(lane, items, until)

    async def _attempt(
        self, lane: Lane, delivery: Delivery, content: Content | errors.FormatError | str
    ) -> datetime | None:
        """Make one attempt; answers when to try again if it failed."""
        if isinstance(content, str):
            self._keep(queue.Result(delivery, DeliveryState.DEAD, self._now(), 0, None, content, None))
            log.warning("delivery.dead", **_named(delivery), attempts=delivery.attempts, error=content)
            return None
        if isinstance(content, errors.FormatError):
            answer = Answer(None, str(content), None, None, 0.0)
        else:
            if lane.target.rate_limit is not None:
                await _wait_for_rate(lane.starts, lane.target.rate_limit)
            answer = await lane.sender.send(delivery.message_id, content, int(self._clock().timestamp()))
            self._note(lane, answer, self._now())
        now = self._now()
        outcome = backoff.decide(
            answer.status,
            answer.retry_after,
            delivery.attempts + 1,
            delivery.created_at,
            now,
            lane.target.retry,
            self._luck(),
        )
        self._latency(lane.target.name).observe(answer.seconds)
        match outcome:
            case backoff.Delivered():
                self._finish(lane, delivery, answer, DeliveryState.DELIVERED, now)
            case backoff.Again(at):
                self._finish(lane, delivery, answer, DeliveryState.PENDING, now, at)
                return at
            case backoff.Dead():
                self._finish(lane, delivery, answer, DeliveryState.DEAD, now)
                log.warning("delivery.dead", **_named(delivery), attempts=delivery.attempts + 1, error=answer.error)
        return None

    def _finish(
        self,
        lane: Lane,
        delivery: Delivery,
        answer: Answer,
        state: DeliveryState,
        now: datetime,
        again_at: datetime | None = None,
    ) -> None:
        outcome = "failed" if state is DeliveryState.PENDING else state.value
        self._attempts(lane.target.name, outcome).inc()
        took = round(answer.seconds * 1000)
        self._keep(queue.Result(delivery, state, now, took, answer.status, answer.error, answer.excerpt, again_at))

    def _note(self, lane: Lane, answer: Answer, now: datetime) -> None:
        """Follow how the target does; say it when that changes."""
        if answer.error is None:
            lane.failures, lane.success_at = 0, now
            if lane.failing_since is not None:
                log.info("target.recovered", target=lane.target.name, failing_since=lane.failing_since)
                lane.failing_since, lane.error, lane.changed = None, None, True
            return
        lane.failures += 1
        if lane.failures >= FAILURES_IN_A_ROW and lane.failing_since is None:
            lane.failing_since, lane.error, lane.changed = now, answer.error, True
            log.warning("target.failing", target=lane.target.name, error=answer.error)

    def _now(self) -> datetime:
        """The database's time, by which replicas agree when something is due."""
        return self._clock() + self._ahead

    # --- recording

    def _keep(self, result: queue.Result) -> None:
        self._results.append(result)
        self._to_record.set()

    def _give_back(self, lane: Lane, chain: Collection[Item], until: datetime | None) -> None:
        if chain:
            self._given_back.setdefault(until, []).extend(delivery.id for delivery, _ in chain)
            lane.held -= len(chain)
            self._to_record.set()

    async def _record_forever(self) -> None:
        while not self._closing:
            await self._to_record.wait()
            if len(self._results) < GROUP_SIZE:
                await asyncio.sleep(GROUP_SECONDS)
            self._to_record.clear()
            try:
                await self._record()
            except errors.DatabaseError as error:
                log.error("delivery.failing", error=str(error))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
                self._to_record.set()

    async def _record(self) -> None:
        """Write down what happened since the last time; if that fails, it is kept for the next."""
        results, given_back = self._results, self._given_back
        health = [lane for lane in self._lanes.values() if self._is_noteworthy(lane)]
        if not results and not given_back and not health:
            return
        self._results, self._given_back = [], {}
        notes = [(lane.target.name, lane.success_at, lane.failing_since, lane.error) for lane in health]
        try:
            await asyncio.shield(self._database.write(self._write, results, given_back, notes))
        except errors.DatabaseError:
            self._results = results + self._results
            for until, ids in given_back.items():
                self._given_back.setdefault(until, []).extend(ids)
            raise
        for lane in health:
            lane.changed, lane.noted = False, time.monotonic()
        for result in results:
            if result.next_attempt_at is not None:
                self._plan(self._lanes[result.delivery.target], result.next_attempt_at)
        for until in given_back:
            if until is not None:
                for lane in self._lanes.values():
                    self._plan(lane, until)

    def _plan(self, lane: Lane, at: datetime) -> None:
        """Look for a lane's work at that time, if not earlier."""
        due = asyncio.get_running_loop().time() + (at - self._now()).total_seconds()
        if due < lane.due:
            lane.due = due
            self._woken.set()

    def _is_noteworthy(self, lane: Lane) -> bool:
        fresh = lane.success_at is not None and lane.failures == 0
        return lane.changed or (fresh and (self._stopping or time.monotonic() - lane.noted > NOTE_SECONDS))

    def _write(
        self,
        tx: sa.Connection,
        results: list[queue.Result],
        given_back: dict[datetime | None, list[int]],
        notes: list[tuple[str, datetime | None, datetime | None, str | None]],
    ) -> None:
        if results:
            queue.record(tx, results, self._instance)
        for until, ids in given_back.items():
            queue.give_back(tx, ids, self._instance, until)
        for name, success_at, failing_since, error in notes:
            queue.note_target(tx, name, success_at=success_at, failing_since=failing_since, error=error)


def _rendering(lane: Lane, delivery: Delivery) -> Rendering:
    return lane.target.format, lane.target.options, delivery.message_id


def _rendered(name: str, options: Options, message: Message) -> Rendered:
    try:
        content = REGISTRY[name].content(message, options)
    except errors.FormatError as error:
        return error
    return content or f"the format {name} cannot tell {message.type}"


def _named(delivery: Delivery) -> dict[str, str | int]:
    return {"delivery": delivery.id, "target": delivery.target, "message": delivery.message_id}


async def _wait_for_rate(starts: deque[float], limit: RateLimit) -> None:
    """Wait until one more attempt fits into the target's rate: a sliding log of this process."""
    period = limit.period.total_seconds()
    while True:
        now = time.monotonic()
        while starts and starts[0] <= now - period:
            starts.popleft()
        if len(starts) < limit.calls:
            starts.append(now)
            return
        await asyncio.sleep(starts[0] + period - now)
