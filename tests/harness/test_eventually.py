"""Tests of waiting itself."""

from __future__ import annotations

import asyncio

import pytest

from tests.harness.eventually import eventually, eventually_in_thread


async def test_a_wait_ends_as_soon_as_the_value_is_as_expected() -> None:
    values = iter(range(10))
    await eventually(lambda: next(values), 3)
    assert next(values) == 4


async def test_without_an_expected_value_any_true_value_ends_the_wait() -> None:
    values: list[int] = []
    asyncio.get_running_loop().call_later(0.02, values.append, 1)
    await eventually(lambda: values)


async def test_a_probe_may_be_a_coroutine_function() -> None:
    async def probe() -> bool:
        await asyncio.sleep(0)
        return True

    await eventually(probe)


async def test_a_failed_wait_shows_the_last_value_and_the_source_of_the_probe() -> None:
    rows = ["pending"]
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: 1 instead of 2\n  rows = \['pending'\]"):
        await eventually(lambda: len(rows), 2, seconds=0.01)
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: 1 instead of 2\n  rows = \['pending'\]"):
        eventually_in_thread(lambda: len(rows), 2, seconds=0.01)
