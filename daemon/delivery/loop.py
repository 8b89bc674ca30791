"""The delivery loop: claim, send, record. One lane per target, so that no target hinders another.

A lane holds a bounded number of claimed deliveries and sends them with the target's
concurrency. Claims of all lanes are made together, and results are written in groups, in
one transaction each: that, not the requests, is what disks are slow at.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from daemon import errors, formats
from daemon.delivery import backoff
from daemon.delivery.contents import GONE, Contents, rendered
from daemon.delivery.lane import Chain, Lane, Stock
from daemon.delivery.recorder import AFTER_FAILURE_SECONDS, Recorder
from daemon.model import Content, Delivery, DeliveryState, Message
from daemon.outbound.sender import Answer, Sender
from daemon.storage import claims, due, results
from daemon.storage.database import system_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.delivery.lane import Item, Prepared, Rendered
    from daemon.delivery.recorder import Records
    from daemon.outbound.sender import Sign
    from daemon.settings import Target
    from daemon.storage.database import Clock, Database

log = structlog.get_logger()

LOOK_SECONDS = 5.0
LATENCIES = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60)


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
        self._contents = Contents(database)
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._ahead = timedelta(0)  # how far the database's clock is ahead of ours
        self._recorder = Recorder(database, instance, self._lanes, self._now, self._after)
        self._recording: asyncio.Task[None] | None = None
        registry = registry or CollectorRegistry()
        labels = ("target", "outcome")
        attempts = Counter("pagerelay_attempts", "Attempts to deliver", labels, registry=registry)
        latency = Histogram(
            "pagerelay_attempt_seconds", "Duration of attempts", ("target",), buckets=LATENCIES, registry=registry
        )
        self._attempts, self._latency = functools.cache(attempts.labels), functools.cache(latency.labels)

    async def run(self) -> None:
        """Deliver until ``stop`` is called."""
        for name, target in self._targets.items():
            self._lanes[name] = Lane(target, self._senders(target, formats.signing(target)))
        self._recording = asyncio.create_task(self._recorder.run(), name="delivery-recorder")
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                async with self._claiming:
                    await self._claim_for(self._hungry())
            except errors.DatabaseError as error:
                log.error("delivery.failing", error=str(error))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            except Exception:  # whatever it is: no message may end all sending
                log.exception("delivery.failing")
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            await self._sleep()

    def wake(self, names: Iterable[str]) -> None:
        """Say that targets have new deliveries, or may have some again."""
        for name in names:
            if name in self._lanes:
                self._lanes[name].live.due = self._lanes[name].replayed.due = 0.0
        self._woken.set()

    def let_replays_go(self) -> None:
        """Give back all replayed deliveries that are not being sent: a replay was cancelled."""
        for lane in self._lanes.values():
            lane.replayed.lettings += 1
            self._empty(lane, (lane.replayed,))

    async def stop(self, grace: timedelta) -> None:
        """Claim no more, let running attempts finish for ``grace`` at most, give everything else back."""
        self._stopping.set()
        self._woken.set()
        async with self._claiming:  # what is being claimed has to be given back as well
            for lane in self._lanes.values():
                self._empty(lane)
        workers = [worker for lane in self._lanes.values() for worker in lane.workers]
        if workers:
            _, unfinished = await asyncio.wait(workers, timeout=grace.total_seconds())
            for worker in unfinished:
                worker.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        self._recorder.close()
        if self._recording is not None:
            await self._recording
        for lane in self._lanes.values():
            await lane.sender.close()

    # --- claiming

    def _hungry(self) -> list[Lane]:
        now = asyncio.get_running_loop().time()
        return [lane for lane in self._lanes.values() if lane.is_hungry(now)]

    async def _sleep(self) -> None:
        """Wait for work, for room, or for the next delivery that is due; let others go first in any case."""
        await asyncio.sleep(0)
        now = asyncio.get_running_loop().time()
        dues = (at for lane in self._lanes.values() if (at := lane.due(now)) is not None)
        at = min(dues, default=now + LOOK_SECONDS)
        if at > now and not self._stopping.is_set():
            try:
                async with asyncio.timeout(min(at - now, LOOK_SECONDS)):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _claim_for(self, lanes: Sequence[Lane]) -> None:
        if not lanes or self._stopping.is_set():
            return
        asked = asyncio.get_running_loop().time()
        for lane in lanes:
            lane.live.due = lane.replayed.due = asked + LOOK_SECONDS
        wanted = {lane.target.name: lane.wanted() for lane in lanes}
        notes = {lane.target.name: lane.notes for lane in lanes}
        now, self._ahead, claims = await self._database.write(self._claim, wanted)
        told = asyncio.get_running_loop().time()  # not earlier than that now, however long the database took
        try:
            contents = await self._contents.of([(lane.target, claims[lane.target.name]) for lane in lanes])
        except Exception:
            ids = [each.id for claim in claims.values() for chain in claim.chains for each in chain.deliveries]
            self._recorder.give_back(ids, None)
            raise
        for lane in lanes:
            claim = claims[lane.target.name]
            until = now if claim.standing is None or claim.standing.until is None else claim.standing.until
            lane.learn(claim, notes[lane.target.name], told + (until - now).total_seconds())
            for stock, at in ((lane.live, claim.next_due), (lane.replayed, claim.next_replayed)):
                if at is not None:
                    stock.due = min(stock.due, asked + max((at - now).total_seconds(), 0.0))
            for chain in claim.chains:
                named = ((each, (lane.target.name, each.message_id)) for each in chain.deliveries)
                items = deque((each, contents.get(name, GONE)) for each, name in named)
                if not lane.stock(chain.deliveries[0]).take(items, chain.after, lane.target.order):
                    self._give_back(items, self._now() + due.BEHIND_RUNNING)
            if lane.is_held(asked) and lane.probe is None:
                self._empty(lane)
            self._start_workers(lane)

    def _claim(
        self, tx: sa.Connection, wanted: Mapping[str, due.Wanted]
    ) -> tuple[datetime, timedelta, dict[str, claims.Claim]]:
        now = self._database.now(tx)
        ahead = now - self._clock()  # at once: what the claim takes would count as a difference of the clocks
        return now, ahead, claims.claim(tx, wanted, self._instance, now)

    # --- sending

    def _start_workers(self, lane: Lane) -> None:
        for _ in range(lane.startable()):
            worker = asyncio.create_task(self._work(lane))
            lane.workers.add(worker)
            worker.add_done_callback(lambda ended: self._ended(lane, ended))

    def _ended(self, lane: Lane, worker: asyncio.Task[None]) -> None:
        lane.workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            log.error("delivery.broken", target=lane.target.name, exc_info=error)

    async def _work(self, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set() and (chosen := lane.next_chain()):
            await self._send_chain(lane, *chosen)
            if lane.is_hungry(loop.time()):
                self._woken.set()

    async def _send_chain(self, lane: Lane, stock: Stock, chain: Chain) -> None:
        """Send one incident's deliveries one after the other; the first that fails holds up the rest."""
        until: datetime | None = None
        yields = False
        items, lettings = chain.items, stock.lettings

        def goes_on() -> bool:
            return stock.lettings == lettings and self._may_send(lane, items[0][0])

        stock.running += 1
        try:
            while items and until is None and not yields and goes_on():
                delivery, prepared = items[0]
                content = await self._ready(lane, delivery, prepared)
                if not goes_on():
                    break
                until = await self._attempt(lane, delivery, content)
                items.popleft()
                stock.held -= 1
                yields = bool(items) and until is None and lane.must_yield(stock)
        finally:
            stock.running -= 1
            if yields:
                stock.chains.appendleft(chain)
            else:
                stock.drop(chain)
                lane.forget_probe({delivery.id for delivery, _ in items}, self._now())
                self._give_back(items, until)

    def _may_send(self, lane: Lane, delivery: Delivery) -> bool:
        return not self._stopping.is_set() and lane.may_send(delivery, asyncio.get_running_loop().time())

    async def _ready(self, lane: Lane, delivery: Delivery, content: Prepared) -> Rendered:
        """What is to be sent, when its turn has come: rendered, and fitting into the target's rate."""
        if isinstance(content, Message):
            async with lane.rendering:
                content = await asyncio.to_thread(rendered, lane.target.format, lane.target.options, content)
        if isinstance(content, Content):
            wanted = functools.partial(self._may_send, lane, delivery)
            await lane.rate.turn(live=not delivery.replayed, stopping=self._stopping, wanted=wanted)
        return content

    async def _attempt(self, lane: Lane, delivery: Delivery, content: Rendered) -> datetime | None:
        """Make one attempt; answers when to try again if it failed."""
        if isinstance(content, str):
            self._recorder.keep(results.Result(delivery, DeliveryState.DEAD, self._now(), 0, None, content, None))
            log.warning("delivery.dead", **_named(delivery), attempts=delivery.attempts, error=content)
            lane.forget_probe({delivery.id}, self._now())
            return None
        if isinstance(content, errors.FormatError):  # nothing that the target could do about
            lane.forget_probe({delivery.id}, self._now())
            failed = Answer(None, str(content), None, None, 0.0)
            return self._conclude(delivery, failed, lane.target, self._now())[1]
        answer = await lane.sender.send(delivery.message_id, content, int(self._clock().timestamp()))
        self._latency(lane.target.name).observe(answer.seconds)
        now = self._now()
        outcome, again_at = self._conclude(delivery, answer, lane.target, now)
        self._follow(lane, delivery, answer, outcome, now)
        return again_at

    def _conclude(
        self, delivery: Delivery, answer: Answer, target: Target, now: datetime
    ) -> tuple[backoff.Outcome, datetime | None]:
        """What follows from an attempt for the delivery; answers when it is tried again, if it is."""
        tries = delivery.attempts + 1
        outcome = backoff.decide(
            answer.status, answer.retry_after, tries, delivery.begun_at, now, target.retry, self._luck()
        )
        match outcome:
            case backoff.Delivered():
                self._finish(delivery, answer, DeliveryState.DELIVERED, now)
            case backoff.Again(at):
                self._finish(delivery, answer, DeliveryState.PENDING, now, at)
                return outcome, at
            case backoff.Gone():
                self._finish(delivery, answer, DeliveryState.PENDING, now, now)
                return outcome, now
            case backoff.Dead():
                self._finish(delivery, answer, DeliveryState.DEAD, now)
                log.warning("delivery.dead", **_named(delivery), attempts=tries, error=answer.error)
        return outcome, None

    def _follow(self, lane: Lane, delivery: Delivery, answer: Answer, outcome: backoff.Outcome, now: datetime) -> None:
        """What follows from an attempt for the target, and all that waits for it."""
        match outcome:
            case backoff.Delivered():
                lane.note_success(now)
                if not lane.changed:
                    return
            case backoff.Gone():
                lane.note_gone(answer, now)
            case backoff.Again(silent_until=until) if until is not None:
                lane.note_asked(until, asyncio.get_running_loop().time() + (until - now).total_seconds())
                lane.note_failure(delivery, answer, now, self._luck())
            case _:
                lane.note_failure(delivery, answer, now, self._luck())
        if lane.changed:
            self._recorder.wake()
        if lane.is_held(asyncio.get_running_loop().time()):
            self._empty(lane)

    def _finish(
        self, delivery: Delivery, answer: Answer, state: DeliveryState, now: datetime, again_at: datetime | None = None
    ) -> None:
        outcome = "failed" if state is DeliveryState.PENDING else state.value
        self._attempts(delivery.target, outcome).inc()
        took = round(answer.seconds * 1000)
        self._recorder.keep(
            results.Result(delivery, state, now, took, answer.status, answer.error, answer.excerpt, again_at)
        )

    def _now(self) -> datetime:
        """The database's time, by which replicas agree when something is due."""
        return self._clock() + self._ahead

    # --- what was recorded

    def _give_back(self, items: Collection[Item], until: datetime | None) -> None:
        self._recorder.give_back([delivery.id for delivery, _ in items], until)

    def _empty(self, lane: Lane, stocks: Sequence[Stock] = ()) -> None:
        """Give back everything that is not being sent, or what of it is in some stocks."""
        for stock, chain in lane.emptied(stocks):
            stock.drop(chain)
            lane.forget_probe(chain.ids, self._now())
            self._give_back(chain.items, None)

    def _after(self, records: Records, paused: frozenset[str]) -> None:
        """Look for the work again that comes of what was written down."""
        self.wake(note.name for note in records.notes if note.changed)
        for result in records.results:
            if result.next_attempt_at is not None:
                self._plan(self._lanes[result.delivery.target], result.next_attempt_at)
        for until in records.given_back:
            if until is not None:
                for lane in self._lanes.values():
                    self._plan(lane, until)
        for name in paused & self._lanes.keys():
            self._lanes[name].note_paused()
            self._empty(self._lanes[name])

    def _plan(self, lane: Lane, at: datetime) -> None:
        """Look for a lane's work at that time, if not earlier."""
        looked = asyncio.get_running_loop().time() + (at - self._now()).total_seconds()
        for stock in (lane.live, lane.replayed):
            if looked < stock.due:
                stock.due = looked
                self._woken.set()


def _named(delivery: Delivery) -> dict[str, str | int]:
    return {"delivery": delivery.id, "target": delivery.target, "message": delivery.message_id}
