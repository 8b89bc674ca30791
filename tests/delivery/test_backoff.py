"""The decision after an attempt, for every status and every requested pause."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.backoff import Dead, Gone, RetryAt, decide, pause, probe_pause, requested_pause
from daemon.settings import Retry
from tests.conftest import START

if TYPE_CHECKING:
    from collections.abc import Iterable

    from daemon.delivery.backoff import Decision

RETRY = Retry()


FAILURES = [None, *range(100, 410), *range(411, 600)]  # 2xx, too: the target's success condition may reject it


def test_every_failure_but_410_is_retried() -> None:
    def outcomes(statuses: Iterable[int | None]) -> dict[int | None, Decision]:
        return {status: decide(status, None, 1, START, START, RETRY, 0.5) for status in statuses}

    assert outcomes([410]) == {410: Gone()}
    assert outcomes(FAILURES) == dict.fromkeys(FAILURES, RetryAt(START + timedelta(seconds=3.75)))


def test_after_the_horizon_a_delivery_is_dead_and_the_last_attempt_is_at_the_horizon() -> None:
    end = START + RETRY.horizon
    assert decide(500, None, 9, START, end - timedelta(seconds=1), RETRY, 0.5) == RetryAt(end)
    assert decide(500, None, 9, START, end, RETRY, 0.5) == Dead()


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.integers(1, 600), st.floats(1, 100))
def test_backoff_grows_to_its_maximum_with_jitter_between_half_and_full(
    attempts: int, luck: float, first: int, factor: float
) -> None:
    retry = Retry(first=timedelta(seconds=first), factor=factor, max=timedelta(hours=1))
    shortest, longest = pause(attempts, retry, 0.0), pause(attempts, retry, 1.0)
    assert shortest <= pause(attempts, retry, luck) <= longest <= retry.max
    assert abs(longest - shortest * 2) <= timedelta(microseconds=2)
    assert pause(attempts + 1, retry, luck) >= pause(attempts, retry, luck)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("-5", 0),
        ("Mon, 23 Nov 2026 10:02:00 GMT", 120),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0),
        ("Monday, 23-Nov-26 10:02:00 GMT", 120),
        ("Mon Nov 23 10:02:00 2026", 120),
        ("Mon, 23 Nov 2026 10:02:00 +0000", 120),
        (" 120 ", 120),
        ("120.0", 120),
        ("1.5", 1.5),
        (".5", 0.5),
        ("nan", 0),
        ("inf", 0),
        ("1e3", 0),
        ("soon", 0),
        ("", 0),
        (None, 0),
        ("99999999999999999999", 28_800),
    ],
)
def test_a_target_may_request_a_longer_pause_up_to_the_maximum(header: str | None, seconds: float) -> None:
    assert min(requested_pause(header, START), RETRY.max) == timedelta(seconds=seconds)
    outcome = decide(429, header, 1, START, START, RETRY, 0.5)
    blocked_until = START + timedelta(seconds=seconds) if seconds > 0 else None
    assert outcome == RetryAt(START + max(timedelta(seconds=seconds), timedelta(seconds=3.75)), blocked_until)


def test_a_delivery_to_a_gone_target_is_not_dead_even_after_the_horizon() -> None:
    assert decide(410, None, 9, START, START + RETRY.horizon * 2, RETRY, 0.5) == Gone()


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_failing_target_is_probed_at_least_once_a_minute(probes: int, luck: float) -> None:
    assert timedelta(0) < probe_pause(probes, RETRY, luck) <= timedelta(minutes=1)
