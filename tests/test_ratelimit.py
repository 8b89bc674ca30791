"""The budget: exact in every window, shared, remembered, fair."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import ratelimit, store
from daemon.database import Database
from daemon.model import Limits, Priority
from daemon.ratelimit import Granted, Permit, Wait, decide
from tests.conftest import START

if TYPE_CHECKING:
    from tests.conftest import ManualClock

LIMITS = Limits()
SECOND = timedelta(seconds=1)


@dataclass
class Far:
    """The far side, which counts calls at some moment between their start and their end."""

    arrivals: list[tuple[datetime, Priority]] = field(default_factory=list)

    def most_in(self, period: timedelta) -> int:
        """The largest number of calls in any window."""
        times = sorted(at for at, _ in self.arrivals)
        return max((bisect_left(times, at + period) - n for n, at in enumerate(times)), default=0)


def simulate(
    requests: list[tuple[float, Priority, float, float]], limits: Limits
) -> tuple[Far, list[tuple[float, float]]]:
    """Play requests (arrival, priority, duration, when in it the far side counts) against ``decide``.

    Answers what the far side saw and, for each request, how long it waited for its permit.
    """
    far = Far()
    given: list[tuple[datetime, float, Priority]] = []
    waits: list[tuple[float, float]] = []
    arriving = deque(sorted(requests, key=lambda request: request[0]))
    lines: dict[Priority, deque[tuple[float, Priority, float, float]]] = {each: deque() for each in Priority}
    now = START
    while arriving or any(lines.values()):
        while arriving and START + timedelta(seconds=arriving[0][0]) <= now:
            lines[arriving[0][1]].append(arriving.popleft())
        given = [each for each in given if each[0] > now - ratelimit.span(limits) - ratelimit.LONGEST_CALL]
        for priority, line in lines.items():
            while line and isinstance(decide(stamps(given, now), waiting(lines), priority, limits, now), Granted):
                at, _, duration, moment = line.popleft()
                given.append((now, duration, priority))
                far.arrivals.append((now + timedelta(seconds=duration * moment), priority))
                waits.append((at, (now - START).total_seconds() - at))
        coming = [START + timedelta(seconds=arriving[0][0])] if arriving else []
        now = min([*coming, *([now + SECOND] if any(lines.values()) else [])], default=now)
    return far, waits


def stamps(given: list[tuple[datetime, float, Priority]], now: datetime) -> list[Permit]:
    """The log as it is kept: stamped ahead while a call lasts, with its end afterwards."""
    ends = [(started + timedelta(seconds=lasts), started, kind) for started, lasts, kind in given]
    return [Permit(end if end <= now else started + ratelimit.LONGEST_CALL, kind) for end, started, kind in ends]


def waiting(lines: dict[Priority, deque[tuple[float, Priority, float, float]]]) -> set[Priority]:
    """The classes that have somebody waiting."""
    return {priority for priority, line in lines.items() if line}


ARRIVALS = st.lists(
    st.tuples(st.floats(0, 200), st.sampled_from(list(Priority)), st.floats(0, 28), st.floats(0, 1)),
    max_size=60,
)


@settings(deadline=None)
@given(ARRIVALS, st.integers(1, 30))
def test_no_window_of_the_far_side_ever_holds_more_than_the_budget(
    requests: list[tuple[float, Priority, float, float]], calls: int
) -> None:
    limits = Limits(calls=calls)
    far, _ = simulate(requests, limits)
    assert len(far.arrivals) == len(requests), "every request is let through in the end"
    assert far.most_in(limits.period) <= calls


def test_a_waiting_crowd_uses_nearly_the_whole_budget() -> None:
    far, _ = simulate([(0.0, Priority.ACTION, 0.1, 0.5)] * 100, LIMITS)
    times = sorted(at for at, _ in far.arrivals)
    first_minute = [at for at in times if at < START + timedelta(seconds=60)]
    assert len(first_minute) == 27, "three of thirty are kept free for polls"


def test_under_a_flood_of_actions_a_poll_waits_for_nothing() -> None:
    flood = [(0.0, Priority.ACTION, 0.1, 0.5)] * 150
    polls = [(30.0 * number, Priority.POLL, 0.1, 0.5) for number in range(1, 8)]
    _, waits = simulate(flood + polls, LIMITS)
    by_arrival = dict(waits)
    assert [by_arrival[at] for at, *_ in polls] == pytest.approx([0.0] * 7, abs=1.01)


def test_under_a_flood_of_polls_actions_and_reconciliation_get_their_share() -> None:
    flood = [(0.0, Priority.POLL, 0.1, 0.5)] * 200
    others = [(10.0, Priority.ACTION, 0.1, 0.5)] * 4 + [(10.0, Priority.RECONCILIATION, 0.1, 0.5)] * 4
    far, _ = simulate(flood + others, LIMITS)
    first = sorted(far.arrivals)[:65]
    kinds = [kind for _, kind in first]
    assert kinds.count(Priority.ACTION) == 4
    assert kinds.count(Priority.RECONCILIATION) >= 2


def test_reconciliation_leaves_half_of_the_budget_to_others() -> None:
    far, _ = simulate([(0.0, Priority.RECONCILIATION, 0.1, 0.5)] * 40, LIMITS)
    assert len([at for at, _ in far.arrivals if at < START + timedelta(seconds=60)]) == 15


def test_a_limit_that_pagerduty_set_holds_until_then_and_an_absurd_one_is_forgotten() -> None:
    until = START + timedelta(seconds=20)
    assert decide([], set(), Priority.POLL, LIMITS, START, until) == Wait(until)
    assert decide([], set(), Priority.POLL, LIMITS, until, until) == Granted()
    assert decide([], set(), Priority.POLL, LIMITS, START, START + timedelta(days=1)) == Granted()


@pytest.fixture
def acme(database: Database) -> Database:
    """A database that knows the connection acme."""
    database.write_now(store.ensure, ["acme"], [], START)
    return database


def take(database: Database, clock: ManualClock, limits: Limits = LIMITS, instance: str = "one") -> Granted | Wait:
    """Ask for a permit to poll."""
    return database.write_now(ratelimit.take, "acme", limits, Priority.POLL, instance, clock())


def test_the_log_outlives_a_restart(acme: Database, clock: ManualClock) -> None:
    limits = Limits(calls=3)
    for _ in range(3):
        permit = take(acme, clock, limits)
        assert isinstance(permit, Granted)
        acme.write_now(ratelimit.finish, permit.permit, clock())
    reopened = Database(acme.url.render_as_string(hide_password=False), clock=clock)
    assert take(reopened, clock, limits, "two") == Wait(START + timedelta(seconds=61))
    clock.advance(61)
    assert isinstance(take(reopened, clock, limits, "two"), Granted)
    reopened.close()


def test_the_permit_of_a_call_that_never_ended_counts_until_it_must_have_ended(
    acme: Database, clock: ManualClock
) -> None:
    limits = Limits(calls=1)
    take(acme, clock, limits)
    assert take(acme, clock, limits) == Wait(START + ratelimit.LONGEST_CALL + timedelta(seconds=61))


def test_after_the_clock_was_set_back_permits_count_from_then(acme: Database, clock: ManualClock) -> None:
    limits = Limits(calls=1)
    permit = take(acme, clock, limits)
    assert isinstance(permit, Granted)
    acme.write_now(ratelimit.finish, permit.permit, clock())
    now = clock.advance(-3600)
    assert take(acme, clock, limits) == Wait(now + timedelta(seconds=61))
    clock.advance(61)
    assert isinstance(take(acme, clock, limits), Granted)


def test_a_block_is_never_shortened_and_never_longer_than_five_minutes(acme: Database, clock: ManualClock) -> None:
    acme.write_now(ratelimit.block, "acme", START + timedelta(days=1), START)
    acme.write_now(ratelimit.block, "acme", START + timedelta(seconds=1), START)
    assert take(acme, clock) == Wait(START + ratelimit.LONGEST_BLOCK)
    clock.advance(300)
    assert isinstance(take(acme, clock), Granted)


def test_the_used_part_of_the_budget_can_be_seen(acme: Database, clock: ManualClock) -> None:
    permit = take(acme, clock)
    assert isinstance(permit, Granted)
    acme.write_now(ratelimit.finish, permit.permit, clock())
    assert acme.read_now(ratelimit.used, "acme", LIMITS, clock()) == 1
    assert acme.read_now(ratelimit.used, "acme", LIMITS, clock.advance(61)) == 0


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

    async def call(permits: ratelimit.Permits) -> None:
        async with permits.permit(Priority.POLL):
            made.append(clock())

    sharers = [ratelimit.Permits(db, "acme", limits, name, sleep=sleep) for db, name in ((acme, "one"), (other, "two"))]
    calls = [asyncio.create_task(call(sharers[number % 2])) for number in range(12)]
    async with asyncio.timeout(20):
        await all_waiting.wait()
    assert len(made) == 5
    for task in calls:
        task.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    other.close()


async def test_the_most_urgent_call_goes_first_and_calls_never_overlap(acme: Database) -> None:
    permits = ratelimit.Permits(acme, "acme", LIMITS, "one")
    order: list[Priority] = []
    inside = 0
    gate = asyncio.Event()

    async def call(priority: Priority) -> None:
        nonlocal inside
        async with permits.permit(priority):
            inside += 1
            assert inside == 1
            await gate.wait()
            order.append(priority)
            inside -= 1

    first = asyncio.create_task(call(Priority.POLL))
    while not inside:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(call(each)) for each in (Priority.RECONCILIATION, Priority.POLL, Priority.ACTION)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *rest)
    assert order == [Priority.POLL, Priority.ACTION, Priority.POLL, Priority.RECONCILIATION]


async def test_a_call_that_is_given_up_waits_no_more(acme: Database, clock: ManualClock) -> None:
    permits = ratelimit.Permits(acme, "acme", Limits(calls=1), "one")
    async with permits.permit(Priority.POLL):
        pass
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    waiting = ratelimit.Permits(acme, "acme", Limits(calls=1), "two", sleep=sleep)

    async def call() -> None:
        async with waiting.permit(Priority.ACTION):
            raise AssertionError

    task = asyncio.create_task(call())
    await asleep.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    clock.advance(61)
    async with permits.permit(Priority.RECONCILIATION):
        pass
