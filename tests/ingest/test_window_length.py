"""The length of the windows in which the log is read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.ingest.window_length import FEW_CALLS, MANY_CALLS, WindowLength
from tests.harness.fake_pagerduty import FakePagerDuty
from tests.harness.polling import Daemon

if TYPE_CHECKING:
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("calls", "then"),
    [(FEW_CALLS, 2 * HOUR), (FEW_CALLS + 1, HOUR), (MANY_CALLS, HOUR), (MANY_CALLS + 1, HOUR / 2)],
)
def test_a_window_of_few_calls_lengthens_the_next_and_one_of_many_shortens_it(calls: int, then: timedelta) -> None:
    length = WindowLength(HOUR)
    length.adapt(calls)
    assert length.current == then


def test_a_length_stays_between_a_second_and_the_longest() -> None:
    length = WindowLength(HOUR, HOUR)
    length.adapt(1)
    assert length.current == HOUR
    for _ in range(20):
        length.adapt(100)
    assert length.current == timedelta(seconds=1)


def test_a_window_that_is_too_large_is_halved_until_a_second() -> None:
    length = WindowLength(HOUR)
    assert length.halve(timedelta(minutes=10))
    assert length.current == timedelta(minutes=5)
    assert not length.halve(timedelta(seconds=1))


async def test_sweeps_read_a_quiet_log_in_one_window_and_after_a_storm_in_several(
    database: Database, clock: ManualClock
) -> None:
    account = FakePagerDuty(clock)
    daemon = Daemon(database, account)
    await daemon.poll(0)
    quiet = [await sweep(daemon) for _ in range(12)]
    assert quiet[-1] == 1
    for number in range(100 * (MANY_CALLS + 1)):
        account.happen("trigger", f"P{number}")
    assert [await sweep(daemon) for _ in range(2)] == [1, 2]
    assert len(daemon.journal()) == 100 * (MANY_CALLS + 1)


async def sweep(daemon: Daemon) -> int:
    """Sweep when it is due; return how many windows that took."""
    await daemon.poll(900)
    before = len(daemon.account.requests)
    await daemon.sweep.run()
    return sum(request.url.params.get("offset") == "0" for request in daemon.account.requests[before:])
