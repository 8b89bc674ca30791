"""A loop goes on whatever its work raises, and the log says so once."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from daemon import errors
from daemon.runtime.guard import Guard


def attempt(guard: Guard, error: BaseException | None = None) -> None:
    with guard.attempt():
        if error is not None:
            raise error


def test_a_failure_is_logged_once_for_each_reason_and_so_is_the_recovery() -> None:
    guard = Guard("deliveries", work="claim")
    full, locked = errors.DatabaseError("the disk is full"), errors.DatabaseError("locked")
    with capture_logs() as lines:
        for error in (None, full, full, full, locked, None, None, full):
            attempt(guard, error)
    logged = [(line["event"], line["work"], line.get("error")) for line in lines]
    assert logged == [
        ("deliveries.failing", "claim", "the disk is full"),
        ("deliveries.failing", "claim", "locked"),
        ("deliveries.recovered", "claim", None),
        ("deliveries.failing", "claim", "the disk is full"),
    ]
    assert guard.failing == "the disk is full"


def test_an_unforeseen_error_is_logged_with_its_traceback_once() -> None:
    guard = Guard("job")
    with capture_logs() as lines:
        for _ in range(3):
            attempt(guard, ValueError("odd"))
    assert [(line["event"], line["error"], line["exc_info"]) for line in lines] == [
        ("job.failing", "unexpected ValueError", True)
    ]


def test_a_cancellation_is_not_swallowed() -> None:
    with pytest.raises(asyncio.CancelledError):
        attempt(Guard("job"), asyncio.CancelledError())
