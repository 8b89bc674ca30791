"""The action executor: claims one connection's actions, oldest first, and runs each so that it takes effect once.

Actions that can go out in one request are claimed together. A run whose outcome is unknown is
repeated after a pause, and the operation then first finds out whether it had worked.
"""

from __future__ import annotations

import asyncio
import functools
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry, Counter

from daemon import errors
from daemon.actions import REGISTRY, ActionRun, RunOutcome, Succeeded, error_codes
from daemon.model import Action, ActionState
from daemon.pagerduty import lookups, writes
from daemon.runtime.guard import Guard
from daemon.runtime.presence import UNCONTESTED
from daemon.storage import action_queue, messages, users
from daemon.storage.database import system_clock
from daemon.text import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import sqlalchemy as sa

    from daemon.model import Json
    from daemon.pagerduty import Client
    from daemon.runtime.presence import Presence
    from daemon.storage.database import Clock, Database

log = structlog.get_logger()

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=60)
PATIENCE = timedelta(hours=1)
LOOK_SECONDS = 1.0
AFTER_FAILURE_SECONDS = 1.0


class Executor:
    """Runs one connection's actions.

    ``wake_targets`` receives the targets with new deliveries, ``on_progress`` the ids of actions that have changed.
    """

    def __init__(
        self,
        database: Database,
        client: Client,
        connection: str,
        instance: str,
        *,
        clock: Clock = system_clock,
        wake_targets: Callable[[Collection[str]], None] = lambda _targets: None,
        on_progress: Callable[[Collection[str]], None] = lambda _actions: None,
        registry: CollectorRegistry | None = None,
        patience: timedelta = PATIENCE,
        presence: Presence = UNCONTESTED,
    ) -> None:
        self._database = database
        self._client = client
        self._connection = connection
        self._instance = instance
        self._clock = clock
        self._wake_targets = wake_targets
        self._on_progress = on_progress
        self._patience = patience
        self._presence = presence
        self._ahead = timedelta(0)  # how far the database's clock is ahead of ours
        self._woken = asyncio.Event()
        self._stopping = False
        self._running: asyncio.Task[None] | None = None
        self._batch: asyncio.Task[None] | None = None
        self._emails: dict[str, str] = {}
        self._ended_actions = _counter(registry or CollectorRegistry())

    async def run(self) -> None:
        """Run actions until ``stop`` is called."""
        self._running = asyncio.create_task(self._run(), name=f"executor {self._connection}")
        await asyncio.wait([self._running])
        if not self._running.cancelled():
            self._running.result()

    async def _run(self) -> None:
        guard = Guard("actions", connection=self._connection)
        while not self._stopping:
            self._woken.clear()
            due = None
            with guard.attempt():
                due = await self.run_once()
            if guard.failing is not None:
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
            elif due is not None:
                await self._sleep(due)

    def wake(self) -> None:
        """Signal that there is a new action."""
        self._woken.set()

    async def stop(self, grace: timedelta) -> None:
        """Claim no more; let running actions finish within ``grace``, then return them to the queue."""
        self._stopping = True
        self._woken.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=grace.total_seconds())
            self._running.cancel()
            await asyncio.wait([self._running])

    async def run_once(self) -> float | None:
        """Run the oldest due action and its batch; if none is due, return the seconds until the next check."""
        if not self._presence.is_current():
            return LOOK_SECONDS
        now, claimed, due = await self._database.write(self._claim)
        self._ahead = now - self._clock()
        if not claimed:
            return LOOK_SECONDS if due is None else min(max((due - now).total_seconds(), 0.0), LOOK_SECONDS)
        self._batch = asyncio.create_task(self._carry_out(claimed))
        try:
            await asyncio.wait([self._batch])
        finally:
            self._batch.cancel()
            await asyncio.wait([self._batch])
        if not self._batch.cancelled():
            self._batch.result()
        return None

    async def abandon(self) -> None:
        """Stop the running batch, which another daemon has taken over, before its next call."""
        if self._batch is not None and not self._batch.done():
            self._batch.cancel()
            await asyncio.wait([self._batch])

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    def _claim(self, tx: sa.Connection) -> tuple[datetime, list[Action], datetime | None]:
        now = self._database.now(tx)
        claimed, due = action_queue.claim(tx, self._connection, self._instance, now, writes.MOST_AT_ONCE)
        return now, claimed, due

    def _now(self) -> datetime:
        return self._clock() + self._ahead

    # --- one run

    async def _carry_out(self, claimed: Sequence[Action]) -> None:
        outcomes: Mapping[str, RunOutcome]
        try:
            outcomes = await self._outcomes(claimed)
        except errors.LostClaim:
            log.warning("action.lost", connection=self._connection, actions=[action.id for action in claimed])
            return
        except asyncio.CancelledError:
            await asyncio.shield(
                self._database.write(action_queue.give_back, [action.id for action in claimed], self._instance)
            )
            raise
        targets = await self._database.write(self._record, claimed, outcomes)
        self._on_progress([action.id for action in claimed])
        if targets:
            self._wake_targets(targets)

    async def _outcomes(self, claimed: Sequence[Action]) -> Mapping[str, RunOutcome]:
        """Return the outcomes by action id; actions that are missing must run alone."""
        operation = REGISTRY.get(claimed[0].operation)
        if operation is None:
            unknown = errors.ActionError("unknown_operation", f"unknown operation {claimed[0].operation}")
            return {action.id: unknown for action in claimed}
        try:
            if len(claimed) > 1 and operation.run_batch is not None:
                return await operation.run_batch(await self._runs(claimed))
            (single,) = await self._runs(claimed)
            return {single.action.id: await operation.run(single, operation.parameters(**single.action.parameters))}
        except (errors.ActionError, errors.PagerDutyError) as error:
            return dict.fromkeys((action.id for action in claimed), error)
        except (errors.DatabaseError, errors.LostClaim):
            raise
        except Exception as error:  # an operation that fails so must not keep others from being carried out
            log.exception("action.crashed", operation=operation.name, actions=[action.id for action in claimed])
            if len(claimed) > 1:
                return {}  # one of them fails all; run alone it does no harm
            broken = errors.Temporary(f"unexpected {type(error).__name__} (see the log)")
            return dict.fromkeys((action.id for action in claimed), broken)

    async def _runs(self, claimed: Sequence[Action]) -> list[ActionRun]:
        runs = []
        for action in claimed:
            notes: frozenset[str] = frozenset()
            if action.write_began_at is not None and action.incident_id is not None:
                notes = await self._database.read(action_queue.notes_of_others, action)
            runs.append(
                ActionRun(action, self._client, self._sender, self._renewed_sender, self._begin, self._now, notes)
            )
        return runs

    async def _begin(self, states: Mapping[str, Json | None]) -> None:
        if not await self._database.write(self._record_begin, states):
            raise errors.LostClaim

    def _record_begin(self, tx: sa.Connection, states: Mapping[str, Json | None]) -> bool:
        return action_queue.begin(tx, self._instance, states, self._database.now(tx))

    # --- senders

    async def _sender(self, user_id: str) -> str:
        """Return the e-mail address of a user; it is looked up once and cached."""
        if user_id not in self._emails:
            known = await self._database.read(users.email_of, self._connection, user_id)
            if known is None:
                return await self._renewed_sender(user_id)
            self._emails[user_id] = known
        return self._emails[user_id]

    async def _renewed_sender(self, user_id: str) -> str:
        self._emails.pop(user_id, None)
        try:
            user = await lookups.user(self._client, user_id)
        except errors.Permanent as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            user = {}
        email = user.get("email")
        if not isinstance(email, str) or not email or not email.isprintable():
            message = f"PagerDuty has no user {user_id} with an e-mail address, or the API key cannot see it"
            raise errors.ActionError("user_not_found", message)
        await self._database.write(users.save, self._connection, email, user_id, self._clock())
        self._emails[user_id] = email
        return email

    # --- outcomes

    def _record(self, tx: sa.Connection, claimed: Sequence[Action], outcomes: Mapping[str, RunOutcome]) -> set[str]:
        """Record the outcomes of a run in one transaction; return the targets with new deliveries."""
        now = self._database.now(tx)
        notified: set[str] = set()
        for action in claimed:
            outcome = outcomes.get(action.id)
            if outcome is None:
                action_queue.put_off(tx, action.id, self._instance, now, None, alone=True)
            elif isinstance(outcome, errors.Temporary) and now - (action.started_at or now) < self._patience:
                requested = min(outcome.delay or timedelta(0), action_queue.LONGEST_PAUSE)
                pause = max(requested, pause_after(action.runs))
                action_queue.put_off(
                    tx,
                    action.id,
                    self._instance,
                    now + pause,
                    self._masked(action, error_codes.while_retrying(outcome)),
                )
                log.info(
                    "action.postponed",
                    action=action.id,
                    operation=action.operation,
                    error=str(outcome),
                    runs=action.runs,
                )
            else:
                notified |= self._end(tx, self._end_of(action, outcome), now)
        return notified

    def _end_of(self, action: Action, outcome: RunOutcome) -> action_queue.End:
        match outcome:
            case Succeeded(kind, result):
                return action_queue.End(action, ActionState.SUCCEEDED, kind, result)
            case errors.ActionError():
                problem = error_codes.as_error(outcome)
            case errors.Temporary():
                problem = error_codes.gave_up(outcome, f"{self._patience}")
            case _:
                problem = error_codes.of_refusal(outcome)
        return action_queue.End(action, ActionState.FAILED, error=self._masked(action, problem))

    def _end(self, tx: sa.Connection, end: action_queue.End, now: datetime) -> set[str]:
        ended = action_queue.end(tx, end, self._instance, now)
        if ended is None:
            return set()
        self._ended_actions.labels(self._connection, ended.operation, ended.state.value).inc()
        error = {} if end.error is None else {"error": end.error["message"]}
        summary = {"action": ended.id, "operation": ended.operation, "connection": self._connection, "runs": ended.runs}
        write = log.info if ended.state is ActionState.SUCCEEDED else log.warning
        write(
            f"action.{ended.state}", **summary, **({"outcome": ended.outcome.value} if ended.outcome else {}), **error
        )
        if ended.notify:
            messages.enqueue_action(tx, ended, now)
        return set(ended.notify)

    def _masked(self, action: Action, problem: Json) -> Json:
        """Return the problem without secrets, in case PagerDuty has echoed one."""
        secrets = (str(action.parameters.get(name)) for name in action.secret)
        return problem | {"message": mask(problem["message"], secrets)}


@functools.cache
def _counter(registry: CollectorRegistry) -> Counter:
    """Return the counter that the executors of all connections share."""
    labels = ("connection", "operation", "state")
    return Counter("pagerelay_actions", "Actions that ended", labels, registry=registry)


def pause_after(runs: int) -> timedelta:
    """Return how long an action waits after this many runs."""
    return min(FIRST_PAUSE * float(2 ** min(runs - 1, 16)), LONGEST_PAUSE)
