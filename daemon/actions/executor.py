"""The action executor: claims one connection's actions, oldest first, and carries them out, each once.

What may be sent in one request is claimed together. A try that ends in the dark is
repeated after a while, and the operation then finds out first whether it had worked.
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
from daemon.model import MASK, Action, ActionState
from daemon.pagerduty import lookups, writes
from daemon.storage import action_queue, messages, users
from daemon.storage.database import system_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import sqlalchemy as sa

    from daemon.model import Json
    from daemon.pagerduty import Client
    from daemon.storage.database import Clock, Database

log = structlog.get_logger()

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=60)
PATIENCE = timedelta(hours=1)
LOOK_SECONDS = 1.0
AFTER_FAILURE_SECONDS = 1.0


class Executor:
    """Carries out one connection's actions.

    ``wake_targets`` is told which targets got deliveries, ``on_progress`` of which actions something came.
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
    ) -> None:
        self._database = database
        self._client = client
        self._connection = connection
        self._instance = instance
        self._clock = clock
        self._wake_targets = wake_targets
        self._on_progress = on_progress
        self._patience = patience
        self._ahead = timedelta(0)  # how far the database's clock is ahead of ours
        self._woken = asyncio.Event()
        self._stopping = False
        self._running: asyncio.Task[None] | None = None
        self._emails: dict[str, str] = {}
        self._ended_actions = _counter(registry or CollectorRegistry())

    async def run(self) -> None:
        """Carry actions out until ``stop`` is called."""
        self._running = asyncio.create_task(self._run(), name=f"executor {self._connection}")
        await asyncio.wait([self._running])
        if not self._running.cancelled():
            self._running.result()

    async def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            try:
                due = await self.run_once()
            except errors.DatabaseError as error:
                log.error("actions.failing", connection=self._connection, error=str(error))
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
                continue
            except Exception:
                log.exception("actions.broken", connection=self._connection)
                await asyncio.sleep(AFTER_FAILURE_SECONDS)
                continue
            if due is not None:
                await self._sleep(due)

    def wake(self) -> None:
        """Say that there is a new action."""
        self._woken.set()

    async def stop(self, grace: timedelta) -> None:
        """Claim no more; let what is being carried out finish for ``grace`` at most, then put it back."""
        self._stopping = True
        self._woken.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=grace.total_seconds())
            self._running.cancel()
            await asyncio.wait([self._running])

    async def run_once(self) -> float | None:
        """Carry out the oldest action that may run, with those like it; if there is none, when to look again (s)."""
        now, claimed, due = await self._database.write(self._claim)
        self._ahead = now - self._clock()
        if not claimed:
            return LOOK_SECONDS if due is None else min(max((due - now).total_seconds(), 0.0), LOOK_SECONDS)
        await self._carry_out(claimed)
        return None

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

    # --- one go

    async def _carry_out(self, claimed: Sequence[Action]) -> None:
        ended: Mapping[str, RunOutcome]
        try:
            ended = await self._ended(claimed)
        except errors.LostClaim:
            log.warning("action.lost", connection=self._connection, actions=[each.id for each in claimed])
            return
        except asyncio.CancelledError:
            await asyncio.shield(
                self._database.write(action_queue.give_back, [each.id for each in claimed], self._instance)
            )
            raise
        targets = await self._database.write(self._record, claimed, ended)
        self._on_progress([each.id for each in claimed])
        if targets:
            self._wake_targets(targets)

    async def _ended(self, claimed: Sequence[Action]) -> Mapping[str, RunOutcome]:
        """How each of the actions ended, by id; those that are left out are to run alone."""
        operation = REGISTRY.get(claimed[0].operation)
        if operation is None:
            unknown = errors.ActionError("unknown_operation", f"this version has no operation {claimed[0].operation}")
            return {each.id: unknown for each in claimed}
        try:
            if len(claimed) > 1 and operation.run_batch is not None:
                return await operation.run_batch(await self._tries(claimed))
            (given,) = await self._tries(claimed)
            return {given.action.id: await operation.run(given, operation.parameters(**given.action.parameters))}
        except (errors.ActionError, errors.PagerDutyError) as error:
            return dict.fromkeys((each.id for each in claimed), error)
        except (errors.DatabaseError, errors.LostClaim):
            raise
        except Exception as error:
            log.exception("action.broken", operation=operation.name, actions=[each.id for each in claimed])
            if len(claimed) > 1:
                return {}  # it is one that breaks all of them: alone it does no harm
            broken = errors.Temporary(f"an unexpected {type(error).__name__}, which is in the log")
            return dict.fromkeys((each.id for each in claimed), broken)

    async def _tries(self, claimed: Sequence[Action]) -> list[ActionRun]:
        tries = []
        for action in claimed:
            notes: frozenset[str] = frozenset()
            if action.write_began_at is not None and action.incident_id is not None:
                notes = await self._database.read(action_queue.notes_of_others, action)
            tries.append(
                ActionRun(action, self._client, self._sender, self._renewed_sender, self._begin, self._now, notes)
            )
        return tries

    async def _begin(self, traces: Mapping[str, Json | None]) -> None:
        if not await self._database.write(self._begun, traces):
            raise errors.LostClaim

    def _begun(self, tx: sa.Connection, traces: Mapping[str, Json | None]) -> bool:
        return action_queue.begin(tx, self._instance, traces, self._database.now(tx))

    # --- who does it

    async def _sender(self, user_id: str) -> str:
        """The e-mail address of a user; looked up once and kept."""
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
            message = f"PagerDuty has no user {user_id} with an e-mail address, or the key may not see it"
            raise errors.ActionError("user_not_found", message)
        await self._database.write(users.save, self._connection, email, user_id, self._clock())
        self._emails[user_id] = email
        return email

    # --- what came of it

    def _record(self, tx: sa.Connection, claimed: Sequence[Action], ended: Mapping[str, RunOutcome]) -> set[str]:
        """Write down what came of a go, in one transaction; answers the targets that are told."""
        now = self._database.now(tx)
        told: set[str] = set()
        for action in claimed:
            came = ended.get(action.id)
            if came is None:
                action_queue.put_off(tx, action.id, self._instance, now, None, alone=True)
            elif isinstance(came, errors.Temporary) and now - (action.started_at or now) < self._patience:
                asked = min(came.delay or timedelta(0), action_queue.LONGEST_PAUSE)
                pause = max(asked, pause_after(action.runs))
                action_queue.put_off(
                    tx, action.id, self._instance, now + pause, self._masked(action, error_codes.while_retrying(came))
                )
                log.info(
                    "action.put_off", action=action.id, operation=action.operation, error=str(came), tries=action.runs
                )
            else:
                told |= self._end(tx, self._end_of(action, came), now)
        return told

    def _end_of(self, action: Action, came: RunOutcome) -> action_queue.End:
        match came:
            case Succeeded(outcome, result):
                return action_queue.End(action, ActionState.SUCCEEDED, outcome, result)
            case errors.ActionError():
                problem = error_codes.as_error(came)
            case errors.Temporary():
                problem = error_codes.gave_up(came, f"{self._patience}")
            case _:
                problem = error_codes.of_refusal(came)
        return action_queue.End(action, ActionState.FAILED, error=self._masked(action, problem))

    def _end(self, tx: sa.Connection, end: action_queue.End, now: datetime) -> set[str]:
        ended = action_queue.end(tx, end, self._instance, now)
        if ended is None:
            return set()
        self._ended_actions.labels(self._connection, ended.operation, ended.state.value).inc()
        error = {} if end.error is None else {"error": end.error["message"]}
        told = {"action": ended.id, "operation": ended.operation, "connection": self._connection, "tries": ended.runs}
        write = log.info if ended.state is ActionState.SUCCEEDED else log.warning
        write(f"action.{ended.state}", **told, **({"outcome": ended.outcome.value} if ended.outcome else {}), **error)
        if ended.notify:
            messages.enqueue_action(tx, ended, now)
        return set(ended.notify)

    def _masked(self, action: Action, problem: Json) -> Json:
        """The problem without what is secret, should PagerDuty have repeated it."""
        message = problem["message"]
        for name in action.secret:
            message = message.replace(str(action.parameters.get(name)), MASK)
        return problem | {"message": message}


@functools.cache
def _counter(registry: CollectorRegistry) -> Counter:
    """What the executors of all connections count together."""
    labels = ("connection", "operation", "state")
    return Counter("pagerelay_actions", "Actions that ended", labels, registry=registry)


def pause_after(tries: int) -> timedelta:
    """How long an action waits after that many tries."""
    return min(FIRST_PAUSE * float(2 ** min(tries - 1, 16)), LONGEST_PAUSE)
