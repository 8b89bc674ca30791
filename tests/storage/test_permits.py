"""The budget: exact in every window, shared, remembered, fair."""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon import errors
from daemon.model import CallPriority
from daemon.pagerduty import client
from daemon.pagerduty.permits import Permits
from daemon.settings import Limits
from daemon.storage import connections, permits, schema
from daemon.storage.database import Database
from daemon.storage.permits import Granted, Permit, Wait, decide
from tests.conftest import START

if TYPE_CHECKING:
    from tests.conftest import ManualClock, Postgres

LIMITS = Limits()
SECOND = timedelta(seconds=1)


@dataclass
class Far:
    """The far side, which counts calls at some moment between their start and their end."""

    arrivals: list[tuple[datetime, CallPriority]] = field(default_factory=list)

    def most_in(self, period: timedelta) -> int:
        """Return the largest number of calls in any window."""
        times = sorted(at for at, _ in self.arrivals)
        return max((bisect_left(times, at + period) - n for n, at in enumerate(times)), default=0)


def simulate(
    requests: list[tuple[float, CallPriority, float, float]], limits: Limits
) -> tuple[Far, list[tuple[float, float]]]:
    """Play requests (arrival, priority, duration, when in it the far side counts) against ``decide``.

    Answers what the far side saw and, for each request, how long it waited for its permit.
    """
    far = Far()
    given: list[tuple[datetime, float, CallPriority]] = []
    waits: list[tuple[float, float]] = []
    arriving = deque(sorted(requests, key=lambda request: request[0]))
    lines: dict[CallPriority, deque[tuple[float, CallPriority, float, float]]] = {
        each: deque() for each in CallPriority
    }
    now = START
    while arriving or any(lines.values()):
        assert now < START + timedelta(hours=2), "somebody waits for ever"
        while arriving and START + timedelta(seconds=arriving[0][0]) <= now:
            lines[arriving[0][1]].append(arriving.popleft())
        given = [each for each in given if each[0] > now - permits.span(limits) - permits.LONGEST_CALL]
        for priority, line in lines.items():
            while line and isinstance(decide(stamps(given, now), waiting(lines), priority, limits, now), Granted):
                at, _, duration, moment = line.popleft()
                given.append((now, duration, priority))
                far.arrivals.append((now + timedelta(seconds=duration * moment), priority))
                waits.append((at, (now - START).total_seconds() - at))
        coming = [START + timedelta(seconds=arriving[0][0])] if arriving else []
        now = min([*coming, *([now + SECOND] if any(lines.values()) else [])], default=now)
    return far, waits


def stamps(given: list[tuple[datetime, float, CallPriority]], now: datetime) -> list[Permit]:
    """Return the log as it is kept: stamped ahead while a call lasts, with its end afterwards."""
    ends = [(started + timedelta(seconds=lasts), started, kind) for started, lasts, kind in given]
    return [Permit(end if end <= now else started + permits.LONGEST_CALL, kind) for end, started, kind in ends]


def waiting(lines: dict[CallPriority, deque[tuple[float, CallPriority, float, float]]]) -> set[CallPriority]:
    """Return the classes that have somebody waiting."""
    return {priority for priority, line in lines.items() if line}


ARRIVALS = st.lists(
    st.tuples(st.floats(0, 200), st.sampled_from(list(CallPriority)), st.floats(0, 28), st.floats(0, 1)),
    max_size=60,
)


@settings(deadline=None)
@given(ARRIVALS, st.integers(1, 30))
def test_no_window_of_pagerdutys_clock_ever_contains_more_calls_than_the_budget(
    requests: list[tuple[float, CallPriority, float, float]], calls: int
) -> None:
    limits = Limits(calls=calls)
    far, _ = simulate(requests, limits)
    assert len(far.arrivals) == len(requests), "every request is let through in the end"
    assert far.most_in(limits.period) <= calls


@pytest.mark.parametrize("calls", [4, 10, 30])
def test_no_class_starves_when_every_class_is_flooded(calls: int) -> None:
    limits = Limits(calls=calls)
    crowd = [(0.0, priority, 0.1, 0.5) for priority in CallPriority for _ in range(calls * 6)]
    far, _ = simulate(crowd, limits)
    window = permits.span(limits) + SECOND
    for number in range(5):
        start = START + number * window
        kinds = [kind for at, kind in far.arrivals if start <= at < start + window]
        assert len(kinds) >= calls - 2, "work that waits uses the budget"
        for priority in CallPriority:
            assert kinds.count(priority) >= permits.guaranteed(limits, priority)


def test_many_waiting_calls_use_nearly_the_whole_budget() -> None:
    far, _ = simulate([(0.0, CallPriority.ACTION, 0.1, 0.5)] * 100, LIMITS)
    times = sorted(at for at, _ in far.arrivals)
    first_minute = [at for at in times if at < START + timedelta(seconds=60)]
    assert len(first_minute) == 27, "three of thirty are kept free for polls"


def test_a_poll_does_not_wait_during_a_flood_of_actions() -> None:
    flood = [(0.0, CallPriority.ACTION, 0.1, 0.5)] * 150
    polls = [(30.0 * number, CallPriority.POLL, 0.1, 0.5) for number in range(1, 8)]
    _, waits = simulate(flood + polls, LIMITS)
    by_arrival = dict(waits)
    assert [by_arrival[at] for at, *_ in polls] == pytest.approx([0.0] * 7, abs=1.01)


def test_actions_and_reconciliation_get_their_share_during_a_flood_of_polls() -> None:
    flood = [(0.0, CallPriority.POLL, 0.1, 0.5)] * 200
    others = [(10.0, CallPriority.ACTION, 0.1, 0.5)] * 4 + [(10.0, CallPriority.RECONCILIATION, 0.1, 0.5)] * 4
    far, _ = simulate(flood + others, LIMITS)
    first = sorted(far.arrivals)[:65]
    kinds = [kind for _, kind in first]
    assert kinds.count(CallPriority.ACTION) == 4
    assert kinds.count(CallPriority.RECONCILIATION) >= 2


def test_reconciliation_leaves_half_of_the_budget_to_other_classes() -> None:
    far, _ = simulate([(0.0, CallPriority.RECONCILIATION, 0.1, 0.5)] * 40, LIMITS)
    assert len([at for at, _ in far.arrivals if at < START + timedelta(seconds=60)]) == 15


def test_a_block_by_pagerduty_lasts_until_its_time_and_an_absurd_one_is_ignored() -> None:
    until = START + timedelta(seconds=20)
    assert decide([], set(), CallPriority.POLL, LIMITS, START, until) == Wait(until)
    assert decide([], set(), CallPriority.POLL, LIMITS, until, until) == Granted()
    assert decide([], set(), CallPriority.POLL, LIMITS, START, START + timedelta(days=1)) == Granted()


@pytest.fixture
def acme(database: Database) -> Database:
    """Return a database that knows the connection acme."""
    database.write_now(connections.ensure, ["acme"], [], START)
    return database


def take(database: Database, clock: ManualClock, limits: Limits = LIMITS, instance: str = "one") -> Granted | Wait:
    """Ask for a permit to poll."""
    return database.write_now(permits.take, "acme", limits, CallPriority.POLL, instance, clock())


STEPS = st.lists(
    st.one_of(
        st.floats(0.1, 40).map(lambda seconds: ("advance", seconds)),
        st.tuples(
            st.just("take"), st.sampled_from(["one", "two"]), st.sampled_from(list(CallPriority)), st.floats(0, 1)
        ),
        st.integers(0, 9).map(lambda number: ("finish", number)),
        st.integers(0, 9).map(lambda number: ("crash", number)),
    ),
    min_size=30,
    max_size=60,
)
EXAMPLES = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = itertools.count()


@dataclass
class Replicas:
    """Two daemons that take permits for one connection, may be killed, and whose calls the far side counts."""

    tx: sa.Connection
    limits: Limits
    name: str = field(default_factory=lambda: f"connection-{next(names)}")
    now: datetime = START
    running: list[tuple[int, datetime, CallPriority, float]] = field(default_factory=list)
    far: Far = field(default_factory=Far)

    def take(self, instance: str, priority: CallPriority, moment: float) -> None:
        outcome = permits.take(self.tx, self.name, self.limits, priority, instance, self.now)
        if isinstance(outcome, Granted):
            self.running.append((outcome.permit, self.now, priority, moment))

    def advance(self, seconds: float) -> None:
        """Time goes by; no call lasts longer than a client lets it."""
        until = self.now + timedelta(seconds=seconds)
        while self.running and self.running[0][1] + LONGEST <= until:
            self.now = max(self.now, self.running[0][1] + LONGEST)
            self.finish(0)
        self.now = until

    def finish(self, number: int) -> None:
        if self.running:
            permit, started, priority, moment = self.running.pop(number % len(self.running))
            permits.finish(self.tx, permit, self.now)
            self.far.arrivals.append((started + (self.now - started) * moment, priority))

    def crash(self, number: int) -> None:
        """Killed in the middle of a call, which arrives all the same, maybe much later."""
        if self.running:
            _, started, priority, moment = self.running.pop(number % len(self.running))
            self.far.arrivals.append((started + LONGEST * moment, priority))


LONGEST = timedelta(seconds=client.CALL_SECONDS)


@EXAMPLES
@given(STEPS, st.integers(1, 4))
def test_kills_and_replicas_never_exceed_the_budget_of_a_window(
    database: Database, steps: list[Any], calls: int
) -> None:
    def play(tx: sa.Connection) -> int:
        replicas = Replicas(tx, Limits(calls=calls))
        connections.ensure(tx, [replicas.name], [], START)
        for action, *arguments in steps:
            getattr(replicas, action)(*arguments)
        while replicas.running:
            replicas.finish(0)
        return replicas.far.most_in(replicas.limits.period + SECOND)  # a second is for the far clock's jitter

    assert database.write_now(play) <= calls


def test_the_clock_is_read_while_the_row_of_the_connection_is_locked(postgres: Postgres, clock: ManualClock) -> None:
    url = postgres.new()
    other = Database(url)

    def look(tx: sa.Connection) -> None:
        tx.execute(sa.text("SELECT 1 FROM connections WHERE name = 'acme' FOR UPDATE NOWAIT"))

    looked: list[str] = []

    class Looking(Database):
        def now(self, tx: sa.Connection) -> datetime:
            with pytest.raises(errors.DatabaseError, match="could not obtain lock"):
                other.write_now(look)
            looked.append("locked")
            return clock()

    database = Looking(url)
    database.write_now(connections.ensure, ["acme"], [], START)
    permits = Permits(database, "acme", LIMITS, "one")
    database.write_now(permits._take, CallPriority.POLL)
    assert looked == ["locked"]
    database.close()
    other.close()


def test_without_the_row_of_the_connection_no_permit_is_granted(database: Database, clock: ManualClock) -> None:
    with pytest.raises(errors.DatabaseError, match="the connection acme has no row"):
        take(database, clock)


async def test_a_very_long_block_by_pagerduty_lasts_five_minutes(acme: Database, clock: ManualClock) -> None:
    await Permits(acme, "acme", LIMITS, "one").block(timedelta.max)
    assert take(acme, clock) == Wait(START + permits.LONGEST_BLOCK)


async def test_calls_of_one_class_get_permits_in_the_order_of_their_arrival(acme: Database, clock: ManualClock) -> None:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        for _ in range(3):  # the others get every chance to overtake
            await acme.read(lambda _tx: None)

    permits = Permits(acme, "acme", Limits(calls=1), "one", sleep=sleep)
    order: list[int] = []

    async def call(number: int) -> None:
        async with permits.permit(CallPriority.POLL):
            order.append(number)

    calls = []
    for number in range(6):
        calls.append(asyncio.create_task(call(number)))
        await acme.read(lambda _tx: None)
    await asyncio.gather(*calls)
    assert order == list(range(6))


def test_the_permit_log_survives_a_restart(acme: Database, clock: ManualClock) -> None:
    limits = Limits(calls=3)
    for _ in range(3):
        permit = take(acme, clock, limits)
        assert isinstance(permit, Granted)
        acme.write_now(permits.finish, permit.permit, clock())
    reopened = Database(acme.url.render_as_string(hide_password=False), clock=clock)
    assert take(reopened, clock, limits, "two") == Wait(START + timedelta(seconds=61))
    clock.advance(61)
    assert isinstance(take(reopened, clock, limits, "two"), Granted)
    reopened.close()


def test_the_permit_of_an_abandoned_call_counts_until_its_maximum_duration_is_over(
    acme: Database, clock: ManualClock
) -> None:
    limits = Limits(calls=1)
    take(acme, clock, limits)
    assert take(acme, clock, limits) == Wait(START + permits.LONGEST_CALL + timedelta(seconds=61))


def test_after_the_clock_is_set_back_permits_count_from_the_new_time(acme: Database, clock: ManualClock) -> None:
    limits = Limits(calls=1)
    permit = take(acme, clock, limits)
    assert isinstance(permit, Granted)
    acme.write_now(permits.finish, permit.permit, clock())
    now = clock.advance(-3600)
    assert take(acme, clock, limits) == Wait(now + timedelta(seconds=61))
    clock.advance(61)
    assert isinstance(take(acme, clock, limits), Granted)


def test_a_block_is_never_shortened_and_lasts_at_most_five_minutes(acme: Database, clock: ManualClock) -> None:
    acme.write_now(permits.block, "acme", START + timedelta(days=1), START)
    acme.write_now(permits.block, "acme", START + timedelta(seconds=1), START)
    assert take(acme, clock) == Wait(START + permits.LONGEST_BLOCK)
    clock.advance(300)
    assert isinstance(take(acme, clock), Granted)


def test_the_used_part_of_the_budget_is_reported(acme: Database, clock: ManualClock) -> None:
    permit = take(acme, clock)
    assert isinstance(permit, Granted)
    acme.write_now(permits.finish, permit.permit, clock())
    assert acme.read_now(permits.used, "acme", LIMITS, clock()) == 1
    assert acme.read_now(permits.used, "acme", LIMITS, clock.advance(61)) == 0


async def test_replicas_share_one_budget(acme: Database, clock: ManualClock) -> None:
    limits = Limits(calls=5)
    other = Database(acme.url.render_as_string(hide_password=False), clock=clock)
    made: list[datetime] = []
    all_waiting = asyncio.Event()
    asleep = 0

    async def sleep(_seconds: float) -> None:
        nonlocal asleep
        asleep += 1
        if asleep == 2:
            all_waiting.set()
        await asyncio.Event().wait()

    async def call(permits: Permits) -> None:
        async with permits.permit(CallPriority.POLL):
            made.append(clock())

    sharers = [Permits(db, "acme", limits, name, sleep=sleep) for db, name in ((acme, "one"), (other, "two"))]
    calls = [asyncio.create_task(call(sharers[number % 2])) for number in range(12)]
    async with asyncio.timeout(10):
        await all_waiting.wait()
    assert len(made) == 5
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    other.close()


async def test_the_most_urgent_call_goes_first_and_calls_never_overlap(acme: Database) -> None:
    permits = Permits(acme, "acme", LIMITS, "one")
    order: list[CallPriority] = []
    inside = 0
    gate = asyncio.Event()

    async def call(priority: CallPriority) -> None:
        nonlocal inside
        async with permits.permit(priority):
            inside += 1
            assert inside == 1
            await gate.wait()
            order.append(priority)
            inside -= 1

    first = asyncio.create_task(call(CallPriority.POLL))
    while not inside:
        await asyncio.sleep(0)
    rest = [
        asyncio.create_task(call(each))
        for each in (CallPriority.RECONCILIATION, CallPriority.POLL, CallPriority.ACTION)
    ]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *rest)
    assert order == [CallPriority.POLL, CallPriority.ACTION, CallPriority.POLL, CallPriority.RECONCILIATION]


async def test_a_cancelled_call_no_longer_waits(acme: Database) -> None:
    permits = Permits(acme, "acme", Limits(calls=1), "one")
    async with permits.permit(CallPriority.POLL):
        pass
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    async def call() -> None:
        async with Permits(acme, "acme", Limits(calls=1), "two", sleep=sleep).permit(CallPriority.ACTION):
            raise AssertionError

    def waits(tx: sa.Connection) -> int:
        return int(tx.execute(sa.select(sa.func.count()).select_from(schema.permit_waits)).scalar_one())

    task = asyncio.create_task(call())
    async with asyncio.timeout(10):
        await asleep.wait()
    assert await acme.read(waits) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await acme.read(waits) == 0
