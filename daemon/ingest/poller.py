"""One connection's poll: read the log once for all due triggers, then let them read the journal.

The database row decides whether a poll may run. Two transactions keep the promises: one
stores the events of a window of the log, one turns the journal into messages and deliveries.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from daemon import errors
from daemon.fan_out import matching
from daemon.fan_out.messages import FanOut
from daemon.ingest import commit
from daemon.ingest.catch_up import CatchUp
from daemon.ingest.pace import Pace
from daemon.ingest.window_length import WindowLength
from daemon.model import CLOCK_TOLERANCE, CallPriority
from daemon.storage import connections, instances, users

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence

    import sqlalchemy as sa

    from daemon.model import Event
    from daemon.pagerduty import Client, Window
    from daemon.runtime.tracing import Tracing
    from daemon.settings import Connection, Target, Trigger
    from daemon.storage.database import Clock, Database

log = structlog.get_logger()

SECOND = timedelta(seconds=1)
FIRST_LENGTH = timedelta(hours=1)
LOOK_UP_AGAIN = timedelta(minutes=10)
SENDING_SECONDS = 0.05  # before a poll's end is recorded: new messages are claimed and sent earlier without it


class Poller:
    """Polls one connection for its triggers. ``wake`` receives those of the ``targets`` that have new deliveries."""

    def __init__(
        self,
        database: Database,
        client: Client,
        connection: Connection,
        triggers: Iterable[Trigger],
        targets: Mapping[str, Target],
        *,
        instance: str,
        clock: Clock,
        wake: Callable[[Collection[str]], None],
        pace: Pace | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._database = database
        self._client = client
        self._connection = connection
        self._triggers = {trigger.name: trigger for trigger in triggers if trigger.connection == connection.name}
        self._every = {name: trigger.every for name, trigger in self._triggers.items()}
        self._fan = FanOut(connection.name, self._triggers.values(), targets)
        self._instance = instance
        self._clock = clock
        self._wake = wake
        self._tracing = tracing
        self._ahead = timedelta(0)  # how far PagerDuty's clock is ahead of ours
        self._clock_is_wrong = False
        self._pace = pace or Pace(connection.overlap)
        self._looked_up: dict[str, datetime] = {}
        self._is_first = True
        self._ends_early = self._reached_end = False
        self._is_replaced = False
        self._passing_on = asyncio.Lock()
        self._condition_errors: dict[str, str | None] = {}

    async def run(self) -> timedelta:
        """Poll if a poll is due; return how long to wait before the next call."""
        claim = await self._database.write(self._claim)
        if isinstance(claim, datetime):
            return min(max(claim - self._clock(), timedelta(0)), self._connection.limits.poll_interval)
        started = time.perf_counter()
        span = None if self._tracing is None else self._tracing.begin_poll(self._connection.name)
        error: str | None = None
        events = messages = 0
        calls_before = self._client.calls
        try:
            if self._is_first:  # what another daemon, or another configuration, has read and not passed on
                self._is_first = False
                messages += await self._fan_out(claim.due)
            async for new_events in self._read_log(claim.state):
                events += len(new_events)
                if self._tracing is not None:
                    self._tracing.record_events(new_events, span)
                messages += await self._fan_out(claim.due)
        except errors.PagerDutyError as failure:
            error = str(failure)
            messages += await self._fan_out(claim.due)
        calls, took = self._client.calls - calls_before, time.perf_counter() - started
        if messages:
            await asyncio.sleep(SENDING_SECONDS)
        was_failing = await self._database.write(self._end, error)
        self._log_clock()
        self._log_result(error, was_failing, events, messages, calls, took)
        if self._tracing is not None and span is not None:
            self._tracing.end_poll(span, error, events=events, messages=messages, calls=calls)
        return timedelta(0)

    def end_early(self) -> None:
        """Let a running poll end with the window that it is reading."""
        self._ends_early = True

    async def replace(self) -> None:
        """Pass nothing on any more: what a running poll still reads is sent as the next configuration says."""
        self._is_replaced = True
        async with self._passing_on:
            pass

    def _claim(self, tx: sa.Connection) -> connections.PollClaim | datetime:
        now = self._database.now(tx)
        interval = self._connection.limits.poll_interval
        return connections.begin_poll(tx, self._connection.name, self._every, interval, self._instance, now)

    def _end(self, tx: sa.Connection, error: str | None) -> datetime | None:
        instances.record_clock(tx, self._instance, -self._ahead)
        now = self._database.now(tx)
        return connections.end_poll(
            tx, self._connection.name, self._instance, error, now, reached_end=self._reached_end
        )

    def _log_clock(self) -> None:
        """Log when this machine's clock differs from PagerDuty's by minutes, and when it no longer does."""
        is_wrong = abs(self._ahead) >= CLOCK_TOLERANCE
        if is_wrong and not self._clock_is_wrong:
            log.warning(
                "clock.skewed",
                connection=self._connection.name,
                ahead_seconds=-round(self._ahead.total_seconds()),
                remedy="set this machine's clock: receivers reject signatures with a wrong time",
            )
        elif self._clock_is_wrong and not is_wrong:
            log.info("clock.recovered", connection=self._connection.name)
        self._clock_is_wrong = is_wrong

    def _log_result(
        self, error: str | None, was_failing: datetime | None, events: int, messages: int, calls: int, took: float
    ) -> None:
        name = self._connection.name
        if error is not None:
            if was_failing is None:
                log.warning("connection.failing", connection=name, error=error)
            else:
                log.debug("poll.failed", connection=name, error=error, failing_since=was_failing)
            return
        if was_failing is not None:
            log.info("connection.recovered", connection=name, failing_since=was_failing)
        counts = {"events": events, "messages": messages, "calls": calls, "took": f"{took:.3f}s"}
        log.info("poll.completed", connection=name, **counts)

    # --- the log

    async def _read_log(self, state: connections.ConnectionState) -> AsyncIterator[list[Event]]:
        """Read the new part of the log in windows, oldest first; yield each window's new events."""
        self._reached_end = state.watermark is None
        if state.watermark is None:
            await self._baseline()
            yield []
            return
        end = self._pagerduty_time() + SECOND
        length = WindowLength(max(FIRST_LENGTH, self._pace.overlap * 2))
        since = state.watermark - self._pace.overlap
        catch_up = CatchUp(self._connection.name, since, end)
        while True:
            until = min(end, _whole(since + length.current))
            read_at = self._clock()
            try:
                window = await self._client.log_entries(since, until, CallPriority.POLL)
            except errors.WindowTooLarge:
                if length.halve(until - since):
                    continue
                raise
            self._learn_time(window, read_at)
            reached = until if until < end else min(until, self._read_up_to(window, read_at))
            self._reached_end = until >= end
            yield await self._database.write(self._commit, window, read_at, reached)
            if self._reached_end:
                self._pace.adapt_overlap(window.calls)
            if self._reached_end or self._ends_early:
                return
            catch_up.report(until)
            since = until
            length.adapt(window.calls)

    def _commit(self, tx: sa.Connection, window: Window, read_at: datetime, watermark: datetime) -> list[Event]:
        return commit.window(
            tx,
            self._connection.name,
            window.entries,
            window.rejected,
            read_at=read_at,
            now=self._clock(),
            watermark=watermark,
        )

    async def _baseline(self) -> None:
        """Run the first poll: store the current state, send nothing."""
        read_at = self._clock()
        until = self._pagerduty_time() + SECOND
        window = await self._client.log_entries(until - self._connection.overlap, until, CallPriority.POLL)
        self._learn_time(window, read_at)
        baseline_at = self._read_up_to(window, read_at)
        try:
            incidents = (await self._client.open_incidents(CallPriority.POLL)).incidents
        except errors.WindowTooLarge as error:
            log.warning("baseline.without_incidents", connection=self._connection.name, reason=str(error))
            incidents = {}
        await self._database.write(
            commit.baseline,
            self._connection.name,
            window.entries,
            incidents,
            read_at=read_at,
            baseline_at=baseline_at,
            now=self._clock(),
        )
        counts = {"entries": len(window.entries), "open_incidents": len(incidents)}
        log.info("baseline.stored", connection=self._connection.name, **counts)

    def _pagerduty_time(self) -> datetime:
        return self._clock() + self._ahead

    def _learn_time(self, window: Window, read_at: datetime) -> None:
        """Follow PagerDuty's clock: it, not ours, decides where a window ends."""
        if window.server_time is not None:
            self._ahead = window.server_time - _whole(read_at)

    def _read_up_to(self, window: Window, read_at: datetime) -> datetime:
        """Return the instant up to which the first page was complete."""
        return _whole(read_at + self._ahead) if window.server_time is None else window.server_time

    # --- the journal

    async def _fan_out(self, due: Sequence[str]) -> int:
        """Let the due triggers read the journal; return how many messages that produced."""
        users = await self._users(due)
        ready = [
            trigger
            for trigger in (self._triggers[name] for name in due)
            if not matching.is_email(trigger.user) or (trigger.user or "").lower() in users
        ]
        index = matching.Index(ready, users)
        names = [trigger.name for trigger in ready]
        messages = 0
        while names:
            async with self._passing_on:
                if self._is_replaced:
                    break
                result = await self._database.write(self._fan.part, names, index, self._clock())
            messages += result.messages
            if result.targets:
                self._wake(result.targets)
                await asyncio.sleep(0)  # the claim comes first: SQLite has one writer
            self._log_condition_errors(result.condition_errors)
            if not result.more:
                break
        return messages

    def _log_condition_errors(self, condition_errors: Mapping[str, str | None]) -> None:
        """Log the error of a condition when it changes."""
        for name, error in condition_errors.items():
            before = self._condition_errors.get(name)
            self._condition_errors[name] = error
            if error and error != before:
                log.warning("condition.failing", trigger=name, error=error)
            elif before and not error:
                log.info("condition.recovered", trigger=name)

    async def _users(self, due: Sequence[str]) -> dict[str, str]:
        """Return the ids of the e-mail addresses that triggers name; each unknown address is looked up once."""
        trigger_by_email = {
            trigger.user.lower(): trigger.name
            for trigger in (self._triggers[name] for name in due)
            if trigger.user and matching.is_email(trigger.user)
        }
        if not trigger_by_email:
            return {}
        known = await self._database.read(users.ids_by_email, self._connection.name)
        for email in trigger_by_email.keys() - known.keys():
            again_at = self._looked_up.get(email)
            if again_at is not None and self._clock() < again_at:
                continue
            self._looked_up[email] = self._clock() + LOOK_UP_AGAIN
            user_id = await self._look_up(
                email, [name for name in due if (self._triggers[name].user or "").lower() == email]
            )
            if user_id:
                known[email] = user_id
        return known

    async def _look_up(self, email: str, triggers: Sequence[str]) -> str | None:
        try:
            user_id = await self._client.find_user(email, CallPriority.POLL)
            error = None if user_id else f"PagerDuty has no user with the e-mail address {email}"
        except errors.PagerDutyError as failure:
            self._looked_up.pop(email, None)
            user_id, error = None, f"the user {email} could not be looked up: {failure}"
        if user_id:
            await self._database.write(users.save, self._connection.name, email, user_id, self._clock())
        elif error:
            log.warning("user.not_found", connection=self._connection.name, user=email, error=error)
        for name in triggers:
            await self._database.write(connections.record_trigger_error, name, error)
        return user_id


def _whole(moment: datetime) -> datetime:
    """Return the second that contains an instant: PagerDuty's times have no finer resolution."""
    return moment.replace(microsecond=0)
