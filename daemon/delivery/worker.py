"""Sending of one target's claimed deliveries with the target's concurrency, and handling of the results."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from daemon.delivery import backoff, breaker
from daemon.delivery.circuit import Circuit
from daemon.delivery.contents import MISSING, Unrenderable, render, with_subject
from daemon.delivery.lane import Claimed, Lane
from daemon.delivery.rate import Rate
from daemon.model import Content, Delivery, DeliveryState, Message
from daemon.outbound.sender import SendResult
from daemon.storage.due import BEHIND_RUNNING
from daemon.storage.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from datetime import datetime

    from daemon.delivery.attempt_metrics import AttemptMetrics
    from daemon.delivery.contents import Renderable, Rendering
    from daemon.delivery.lane import Buffer, IncidentRun
    from daemon.delivery.recorder import Recorder
    from daemon.outbound.sender import Sender
    from daemon.runtime.presence import Presence
    from daemon.runtime.tracing import Tracing
    from daemon.settings import Target
    from daemon.storage.claims import TargetClaim

log = structlog.get_logger()

NOT_SENT_PAUSE = timedelta(seconds=2)
LOG_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Shared:
    """The parts that the workers of all targets share. ``now`` is the database's time, ``clock`` this machine's.

    ``finished`` are deliveries without another attempt that a claim may still name, because it has not seen the record.
    """

    recorder: Recorder
    metrics: AttemptMetrics
    now: Callable[[], datetime]
    clock: Callable[[], datetime]
    jitter: Callable[[], float]
    wake: Callable[[], None]  # the loop that claims
    stopping: asyncio.Event
    presence: Presence
    finished: set[int]
    tracing: Tracing | None = None


class TargetWorker:
    """Everything that this process holds for one target."""

    def __init__(self, target: Target, sender: Sender, shared: Shared) -> None:
        self.target = target
        self.lane = Lane(target)
        self.circuit = Circuit(target.name)
        self._sender = sender
        self._shared = shared
        self._rate = Rate(target.rate_limit)
        self._metrics = shared.metrics.of_target(target.name)
        self._not_sent_at: datetime | None = None
        self._rendering = asyncio.Lock()  # so that a target keeps one thread busy at most
        self._tasks: set[asyncio.Task[None]] = set()

    def wants_claim(self, now: float) -> bool:
        """Return whether to claim: only when everything that other daemons need to know of the target is recorded."""
        return self.circuit.is_settled and self.lane.wants_claim(now)

    def due(self, now: float) -> float | None:
        """Return when to ask ``wants_claim`` again; None: another task wakes the loop."""
        return self.lane.due(now) if self.circuit.is_settled else None

    def take(self, claim: TargetClaim, contents: Mapping[str, Renderable], version: int) -> None:
        """Take over a claim; ``version`` is the circuit's version from before it."""
        if claim.state is not None:
            probe = claim.runs[0].deliveries[0].id if claim.runs else None
            self.circuit.apply_claim(claim.state, probe, version)
        for run in claim.runs:
            self._shared.finished.difference_update([each.id for each in run.deliveries])  # no more: claimed again
            items = deque([Claimed(each, contents.get(each.message_id, MISSING)) for each in run.deliveries])
            if not self.lane.take(items, run.after - self._shared.finished):
                self._give_back(items, self._shared.now() + BEHIND_RUNNING)
        if self.circuit.breaker.is_held(self._shared.now()) and self.circuit.breaker.probe is None:
            self.drain()
        for _ in range(self.lane.startable(len(self._tasks))):
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def pause(self) -> None:
        """Stop sending: a person has paused the target."""
        self.circuit.apply(breaker.pause(self.circuit.breaker, self._shared.now()))
        self.drain()

    def drain(self) -> None:
        """Release everything that is not in flight."""
        self._release(self.lane.drain())

    def release_replays(self) -> None:
        """Release the replayed deliveries that are not in flight."""
        self._release(self.lane.release_replays())

    async def stop(self, grace: timedelta) -> None:
        """Let running attempts finish within ``grace``, then cancel them."""
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=grace.total_seconds())
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()

    # --- sending

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery.crashed", target=self.target.name, exc_info=error)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._shared.stopping.is_set() and (chosen := self.lane.next()):
            await self._send_run(*chosen)
            if self.lane.live.has_room() and self.wants_claim(loop.time()):
                self._shared.wake()

    async def _send_run(self, buffer: Buffer, run: IncidentRun) -> None:
        """Send a run's deliveries one after the other; the first that fails makes the rest wait."""
        until: datetime | None = None
        yields = False
        items, generation = run.items, buffer.generation
        is_ready = self._rate.is_unlimited
        try:
            while items and until is None and not yields:
                delivery, content = items[0]
                if buffer.generation != generation or not self._may_send(delivery):
                    break
                if not (is_ready and isinstance(content, Content)):
                    content = await self._ready(delivery, content)
                    if buffer.generation != generation or not self._may_send(delivery):
                        break
                until = await self._attempt(delivery, content)
                buffer.sent_first(run)
                yields = bool(items) and until is None and self.lane.must_yield(buffer, len(self._tasks))
        finally:
            if yields:
                buffer.postpone(run)
            else:
                buffer.end(run)
                if items:
                    self._lose_probe(each.delivery.id for each in items)
                    self._give_back(items, until)

    def _may_send(self, delivery: Delivery) -> bool:
        if self._shared.stopping.is_set() or not self._shared.presence.is_current():
            return False
        state = self.circuit.breaker
        return state.is_unrestricted or state.may_send(delivery.id, self._shared.now())

    async def _ready(self, delivery: Delivery, content: Renderable) -> Rendering:
        """Return the content to send as soon as the target's rate limit allows."""
        if isinstance(content, Message):
            message = content
            async with self._rendering:
                content = await asyncio.to_thread(render, self.target.format, self.target.options, message)
            if self._shared.tracing is not None:
                content = with_subject(content, message)
        if isinstance(content, Content):
            may_send = functools.partial(self._may_send, delivery)
            await self._rate.turn(live=not delivery.replayed, stopping=self._shared.stopping, is_wanted=may_send)
        return content

    async def _attempt(self, delivery: Delivery, content: Rendering) -> datetime | None:
        """Make one attempt; return when to try again if it failed."""
        if isinstance(content, Unrenderable):  # not the target's fault
            self._lose_probe({delivery.id})
            failed = SendResult(None, content.reason, None, None, 0.0)
            if content.final:
                self._keep(delivery, failed, DeliveryState.DEAD, self._shared.now())
                self._log_dead(delivery, delivery.attempts, content.reason)
                return None
            return self._settle(delivery, failed, self._shared.now())[1]
        if self._shared.tracing is None:
            answer = await self._send(delivery, content)
        else:
            answer = await self._send_traced(delivery, content, self._shared.tracing)
        now = self._shared.now()
        if answer.is_ours:
            return self._not_sent(delivery, answer, now)
        self._metrics.observe(answer.seconds)
        again_at = None
        if answer.error is None:
            self._finish(delivery, answer, DeliveryState.DELIVERED, now)
            self.circuit.succeed(now)
        else:
            decision, again_at = self._settle(delivery, answer, now)
            self._count_failure(delivery, answer, decision, now)
        self._follow_circuit(now)
        if self._shared.tracing is not None and again_at is None:
            state = DeliveryState.DELIVERED if answer.error is None else DeliveryState.DEAD
            self._shared.tracing.record_delivery(delivery, content.subject, state, now)
        return again_at

    def _send(self, delivery: Delivery, content: Content) -> Coroutine[Any, Any, SendResult]:
        return self._sender.send(delivery.message_id, content, int(self._shared.clock().timestamp()))

    async def _send_traced(self, delivery: Delivery, content: Content, tracing: Tracing) -> SendResult:
        attempt = tracing.begin_attempt(delivery, content.subject)
        answer = await self._send(delivery, attempt.with_header(content) if self.target.traceparent else content)
        attempt.end(answer.status, answer.error)
        return answer

    def _not_sent(self, delivery: Delivery, answer: SendResult, now: datetime) -> datetime:
        """Release a delivery that this machine could not send, which counts as no attempt; return when to try again."""
        if self._not_sent_at is None or now - self._not_sent_at > LOG_EVERY:
            log.error(
                "delivery.not_sent", target=self.target.name, error=answer.error, remedy="see LimitNOFILE, ulimit"
            )
            self._not_sent_at = now
        self._metrics.count("not_sent")
        self._lose_probe({delivery.id})
        self._shared.recorder.give_back([delivery.id], now + NOT_SENT_PAUSE)
        return now + NOT_SENT_PAUSE

    def _settle(
        self, delivery: Delivery, answer: SendResult, now: datetime
    ) -> tuple[backoff.Decision, datetime | None]:
        """Record a failed attempt; return the decision, and the time of the retry if there is one."""
        attempts, retry = delivery.attempts + 1, self.target.retry
        decision = backoff.decide(
            answer.status, answer.retry_after, attempts, delivery.begun_at, now, retry, self._shared.jitter()
        )
        again_at = None
        match decision:
            case backoff.Dead():
                self._finish(delivery, answer, DeliveryState.DEAD, now)
            case _:
                again_at = decision.at if isinstance(decision, backoff.RetryAt) else now
                self._finish(delivery, answer, DeliveryState.PENDING, now, again_at)
        return decision, again_at

    def _count_failure(self, delivery: Delivery, answer: SendResult, decision: backoff.Decision, now: datetime) -> None:
        """Update the target's state with a failed attempt."""
        circuit = self.circuit
        if isinstance(decision, backoff.Gone):
            circuit.apply(breaker.on_gone(circuit.breaker, answer.error, now))
            return
        if isinstance(decision, backoff.RetryAt) and decision.blocked_until is not None:
            circuit.apply(breaker.on_retry_after(circuit.breaker, decision.blocked_until))
        failure = delivery.id, answer.status, answer.error, now, self.target.retry, self._shared.jitter()
        circuit.apply(breaker.on_failure(circuit.breaker, *failure))

    def _follow_circuit(self, now: datetime) -> None:
        """Record what other daemons need to know, and release what must not be sent any more."""
        circuit = self.circuit
        if not circuit.is_settled:
            self._shared.recorder.wake()
        if not circuit.breaker.is_unrestricted and circuit.breaker.is_held(now):
            self.drain()

    def _finish(
        self,
        delivery: Delivery,
        answer: SendResult,
        state: DeliveryState,
        now: datetime,
        again_at: datetime | None = None,
    ) -> None:
        self._metrics.count("failed" if state is DeliveryState.PENDING else state.value)
        self._keep(delivery, answer, state, now, again_at)
        if state is DeliveryState.DEAD:
            self._log_dead(delivery, delivery.attempts + 1, answer.error)

    def _keep(
        self,
        delivery: Delivery,
        answer: SendResult,
        state: DeliveryState,
        now: datetime,
        again_at: datetime | None = None,
    ) -> None:
        if state is not DeliveryState.PENDING:
            self._shared.finished.add(delivery.id)
        took = round(answer.seconds * 1000)
        self._shared.recorder.keep(
            Result(delivery, state, now, took, answer.status, answer.error, answer.excerpt, again_at)
        )

    def _log_dead(self, delivery: Delivery, attempts: int, error: str | None) -> None:
        log.warning(
            "delivery.dead",
            delivery=delivery.id,
            target=delivery.target,
            message=delivery.message_id,
            attempts=attempts,
            error=error,
        )

    def _release(self, runs: Iterable[IncidentRun]) -> None:
        for run in runs:
            self._lose_probe(run.ids)
            self._give_back(run.items, None)

    def _lose_probe(self, ids: Iterable[int]) -> None:
        circuit = self.circuit
        if circuit.breaker.probe is None:
            return
        circuit.apply(breaker.lose_probe(circuit.breaker, frozenset(ids), self._shared.now()))
        if not circuit.is_settled:
            self._shared.recorder.wake()

    def _give_back(self, items: Iterable[Claimed], until: datetime | None) -> None:
        self._shared.recorder.give_back([each.delivery.id for each in items], until)
