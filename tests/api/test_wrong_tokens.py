"""Wrong tokens are logged, with the address that they come from."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import httpx
import structlog

from daemon import api
from daemon.api import access, application
from daemon.page import sessions
from tests.harness import sample_data
from tests.harness.eventually import eventually
from tests.harness.watch import Watch

if TYPE_CHECKING:
    import pytest

    from daemon.settings import Settings
    from daemon.storage.database import Database


def test_wrong_tokens_are_logged_once_a_minute_for_each_address() -> None:
    watch = Watch()
    wrong_tokens = access.WrongTokens(watch)
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            wrong_tokens.add("10.0.0.1", "/v1/status")
        wrong_tokens.add("10.0.0.2", "/v1/status")
        watch.seconds = 61
        wrong_tokens.add("10.0.0.1", "/v1/events")
    assert [(line["address"], line["path"], line["more_since_last_line"]) for line in lines] == [
        ("10.0.0.1", "/v1/status", 0),
        ("10.0.0.2", "/v1/status", 0),
        ("10.0.0.1", "/v1/events", 4),
    ]


def test_the_log_of_wrong_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_ADDRESSES", 3)
    wrong_tokens = access.WrongTokens(Watch())
    for number in range(10):
        wrong_tokens.add(f"10.0.0.{number}", "/v1/status")
    with structlog.testing.capture_logs() as lines:
        wrong_tokens.add("10.0.0.9", "/v1/status")  # still remembered
        wrong_tokens.add("10.0.0.0", "/v1/status")  # forgotten
    assert [line["address"] for line in lines] == ["10.0.0.0"]


async def test_a_wrong_token_is_logged_without_it_and_a_missing_one_is_not(
    database: Database, settings: Settings
) -> None:
    app = api.create(database, api.Current(settings))
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        with structlog.testing.capture_logs() as lines:
            await client.get("/v1/status")
            await client.get("/v1/status", headers={"authorization": "Bearer canary-guess"})
    assert [(line["event"], line["address"]) for line in lines] == [("request.wrong_token", "192.0.2.7")]
    assert "canary" not in str(lines)


async def test_wrong_tokens_are_slowed_down_and_a_right_one_is_not(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    full = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 3:
            await full.wait()

    monkeypatch.setattr(application, "SignInAttempts", functools.partial(sessions.SignInAttempts, sleep=sleep))
    transport = httpx.ASGITransport(api.create(database, api.Current(settings)), client=("192.0.2.7", 1))
    right = {"authorization": f"Bearer {sample_data.TOKEN}"}
    wrong = {"authorization": "Bearer canary-guess"}
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for _ in range(sessions.FREE_FAILURES + 3):
            assert (await client.get("/v1/status", headers=wrong)).status_code == 401
        assert waits == [0.25, 0.5, 1.0]
        assert (await client.get("/v1/status", headers=right)).status_code == 200
        assert len(waits) == 3
        guesses = [asyncio.create_task(client.get("/v1/status", headers=wrong)) for _ in range(sessions.MOST_AT_ONCE)]
        await eventually(lambda: len(waits) == 4)
        refused = await client.get("/v1/status", headers=right)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "4")
        full.set()
        assert {each.status_code for each in await asyncio.gather(*guesses)} == {401}
